// The machine around the devices, as software that brings its own drivers finds it: ports and memory, PCI configuration
// mechanism #1, interrupt routing, the firmware configuration device, PCI hot unplug. No BIOS has run: BARs are zero.
// Specifications: PCI Local Bus 3.0; Intel 82371SB (PIIX3) datasheet, 290550-002; Intel I/O Controller Hub 9 (ICH9)
// datasheet, 316972-004.

import type { AccessSize, Controller, Machine } from '../machine/index.ts';
import { Bridge, type BridgeShape, PciBridge, type PciTarget } from './bridge.ts';
import type { CommandLine, MachineKind } from './command-line.ts';
import { FwCfg, type FwCfgState } from './fw-cfg.ts';
import { HostBridge, type HostBridgeShape, overlaps, type Range } from './host-bridge.ts';
import { RTC_DATA_PORT, RTC_INDEX_PORT, Rtc, type RtcState } from './rtc.ts';

const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;
const CONFIG_ENABLE = 0x80000000;
const PORTS = 0x10000;
/** Reset control: a write with this bit resets the machine (PIIX3 2.5.4.3). */
const RESET_PORT = 0xcf9;
const RESET_BIT = 4;
/** PCI hot plug by ACPI: slots that came, slots to go, and the register that ejects. */
const HOTPLUG_PORT = 0xae00;
const HOTPLUG_BYTES = 0x18;
const HOTPLUG_DOWN = 4;
const HOTPLUG_EJECT = 8;
/** Routes of the interrupt lines A to D, and on an ICH E to H (PIIX3 2.2.7; ICH9 13.1.8, 13.1.12). */
const ROUTES = 0x60;
const MORE_ROUTES = 0x68;
const ROUTE_OFF = 0x80;
/** Input of the interrupt controller for the clock. */
const RTC_INPUT = 8;
/** Where the machine's lines for PCI begin: those below are ISA's. */
const FIRST_PCI_LINE = 16;
const NO_ROUTES: readonly (readonly [number, number])[] = [0, 1, 2, 3].map(
  (i) => [ROUTES + i, ROUTE_OFF] as const,
);
const ICH_ROUTES = [...NO_ROUTES, ...NO_ROUTES.map(([at, off]) => [at + MORE_ROUTES - ROUTES, off] as const)];

interface Chipset {
  /** At device and function 0. */
  readonly host: HostBridgeShape | null;
  /** Device and function numbers as one: device × 8 + function. */
  readonly bridges: readonly (readonly [devfn: number, shape: BridgeShape])[];
  readonly routers: number;
}

const NOTHING: readonly Range[] = [];
const INTEL = 0x8086;
const CHIPSETS: Readonly<Record<MachineKind, Chipset>> = {
  none: { host: null, bridges: [], routers: -1 },
  pc: {
    routers: 8,
    host: {
      vendor: INTEL,
      device: 0x1237,
      revision: 2,
      classCode: 0x060000,
      command: 6,
      pam: 0x59,
      smram: 0x72,
      esmramc: -1,
    },
    bridges: [
      [
        8,
        {
          vendor: INTEL,
          device: 0x7000,
          revision: 0,
          classCode: 0x060100,
          multifunction: true,
          writable: NO_ROUTES,
        },
      ],
      [8 + 3, { vendor: INTEL, device: 0x7113, revision: 3, classCode: 0x068000 }],
    ],
  },
  q35: {
    routers: 0x1f * 8,
    host: {
      vendor: INTEL,
      device: 0x29c0,
      revision: 0,
      classCode: 0x060000,
      command: 6,
      pam: 0x90,
      smram: 0x9d,
      esmramc: 0x9e,
    },
    bridges: [
      [
        0x1f * 8,
        {
          vendor: INTEL,
          device: 0x2918,
          revision: 2,
          classCode: 0x060100,
          multifunction: true,
          writable: ICH_ROUTES,
        },
      ],
      [0x1f * 8 + 3, { vendor: INTEL, device: 0x2930, revision: 2, classCode: 0x0c0500 }],
    ],
  },
};

export interface BoardState {
  readonly configAddress: number;
  readonly unplugging: readonly number[];
  readonly firmware: FwCfgState;
  readonly rtc: RtcState;
  readonly bridges: readonly (readonly [devfn: number, registers: readonly number[]])[];
}

/** What the board asks of whoever runs it. */
export interface BoardHooks {
  /** Software wants the whole machine reset. */
  reset(): void;
  /** Software lets the devices in slot number `slot` go. */
  eject(slot: number): void;
}

export class Board {
  readonly machine: Machine;
  readonly kind: MachineKind;
  readonly #hooks: BoardHooks;
  readonly #functions = new Map<number, PciTarget>();
  readonly #bridges = new Map<number, Bridge>();
  readonly #router: Bridge | null;
  readonly #host: HostBridge | null = null;
  readonly firmware: FwCfg;
  readonly rtc: Rtc;
  #configAddress = 0;
  /** Slots whose devices the host wants back. */
  readonly #unplugging = new Set<number>();
  /** The buses behind bridges: each bridge's place. The root is bus 0. */
  readonly #segments = new Map<number, number>();

  /** `startSeconds`: the time at which the machine starts, in seconds since 1970. */
  constructor(machine: Machine, line: CommandLine, startSeconds: number, hooks: BoardHooks) {
    const kind = line.machine;
    this.machine = machine;
    this.kind = kind;
    this.#hooks = hooks;
    this.firmware = new FwCfg(line.ramBytes, line.uuid, line.boot.menu);
    this.rtc = new Rtc(line.startSeconds ?? startSeconds);
    // Clients read registers behind the end of a BAR, and take them for zeroes.
    machine.bus.emptyByte = 0;
    const { host, bridges } = CHIPSETS[kind];
    const chips = bridges.map(([devfn, shape]) => [devfn, new Bridge(shape)] as const);
    if (host !== null) {
      this.#host = new HostBridge(host, machine.memory.regions[0]?.bytes ?? 0);
      chips.push([0, this.#host]);
    }
    for (const [devfn, bridge] of chips) {
      this.#bridges.set(devfn, bridge);
      this.#functions.set(devfn, bridge);
    }
    this.#router = this.#bridges.get(CHIPSETS[kind].routers) ?? null;
  }

  // A function's place is the number of its bus in the order in which buses came, times 256, and its device and function.

  /** What is at a place. */
  functionAt(devfn: number): PciTarget | undefined {
    return this.#functions.get(devfn);
  }

  addFunction(devfn: number, target: PciTarget): void {
    this.#functions.set(devfn, target);
  }

  removeFunction(devfn: number): void {
    this.#functions.delete(devfn);
    this.#unplugging.delete(devfn >> 3);
    this.#bridges.delete(devfn);
    for (const [segment, at] of this.#segments) if (at === devfn) this.#segments.delete(segment);
  }

  /** Puts a bridge at a place; the number of the bus behind it. */
  addBridge(devfn: number, bridge: PciBridge): number {
    const segment = Math.max(0, ...this.#segments.keys()) + 1;
    this.addFunction(devfn, bridge);
    this.#bridges.set(devfn, bridge);
    this.#segments.set(segment, devfn);
    this.machine.bus.forwards ??= (controller, kind, address) =>
      this.bridgesTo(devfnOf(this, controller)).every((at) => {
        const above = this.#bridges.get(at);
        return above instanceof PciBridge && above.forwards(kind, address);
      });
    return segment;
  }

  /** The places of the bridges in front of a place, the nearest first. */
  bridgesTo(devfn: number): number[] {
    const at = this.#segments.get(devfn >> 8);
    return at === undefined ? [] : [at, ...this.bridgesTo(at)];
  }

  /** All of them, by place. */
  get functions(): ReadonlyMap<number, PciTarget> {
    return this.#functions;
  }

  /** The machine's line that pin A of a function drives: 16 and up. Bridges turn pins by the device's number (9.1). */
  lineOf(devfn: number): number {
    const [root = devfn, ...behind] = [devfn, ...this.bridgesTo(devfn)].reverse();
    const pin = behind.reduce((sum, at) => sum + ((at >> 3) & 31), 0);
    const device = root >> 3;
    if (this.kind === 'pc') return FIRST_PCI_LINE + ((device + 3 + pin) & 3);
    return device >= 25 ? FIRST_PCI_LINE + (pin & 3) : FIRST_PCI_LINE + 4 + ((device + pin) & 3);
  }

  /** The inputs of the interrupt controller that are high, a bit each, 0 to 23. */
  interrupts(): number {
    const lines = this.machine.irqLines;
    let inputs = this.kind === 'pc' ? lines & 0xffff : lines & 0xffffff;
    if (this.rtc.interrupt) inputs |= 1 << RTC_INPUT;
    if (this.#router === null || lines < 1 << FIRST_PCI_LINE) return inputs;
    for (let i = 0; i < 8; i++) {
      if ((lines & (1 << (FIRST_PCI_LINE + i))) === 0) continue;
      const route = this.#router.configRead(i < 4 ? ROUTES + i : MORE_ROUTES + i - 4, 1);
      if ((route & ROUTE_OFF) === 0) inputs |= 1 << (route & 15);
    }
    return inputs;
  }

  // Ports. What is not aligned to its size is taken apart, as a processor's bus does.

  readPort(port: number, size: AccessSize): number {
    if ((port & (size - 1)) !== 0)
      return joinPieces(port, size, (at, part) => this.readPort(at % PORTS, part));
    if (port >= CONFIG_DATA && port < CONFIG_DATA + 4) return this.#configRead(port, size);
    if (port === CONFIG_ADDRESS) return size === 4 ? this.#configAddress : ones(size);
    if (FwCfg.decodes(port) || this.#isRtc(port)) {
      const low = FwCfg.decodes(port) ? this.firmware.read(port) : this.rtc.read(port);
      return size === 1 ? low : joinPieces(port, size, (at) => (at === port ? low : this.readPort(at, 1)), 1);
    }
    if (this.#isHotplug(port)) return this.#hotplugRead(port - HOTPLUG_PORT, size);
    return this.machine.bus.readPort(port, size);
  }

  writePort(port: number, size: AccessSize, value: number): void {
    if ((port & (size - 1)) !== 0) {
      splitPieces(port, size, value, (at, part, bits) => this.writePort(at % PORTS, part, bits));
    } else if (port >= CONFIG_DATA && port < CONFIG_DATA + 4) this.#configWrite(port, size, value);
    else if (port === CONFIG_ADDRESS) {
      if (size === 4) this.#configAddress = value;
    } else if (FwCfg.decodes(port)) this.firmware.write(port, size, value);
    else if (this.#isRtc(port)) {
      this.rtc.write(port, value & 0xff);
      for (let i = 1; i < size; i++) this.writePort(port + i, 1, (value >>> (8 * i)) & 0xff);
    } else if (port === RESET_PORT) {
      if ((value & RESET_BIT) !== 0) this.#hooks.reset();
    } else if (this.#isHotplug(port)) this.#hotplugWrite(port - HOTPLUG_PORT, value);
    else this.machine.bus.writePort(port, size, value);
  }

  // Memory. An access of 1, 2 or 4 bytes that is aligned reaches a device as one. What the host bridge keeps the processor
  // from reads as ones and cannot be written.

  /** Where an access is kept from RAM, as offsets. */
  #closed(access: 'read' | 'write', address: number, length: number): readonly Range[] {
    return this.#host === null ? NOTHING : overlaps(this.#host.closed(access), address, length);
  }

  /** What a load of 1, 2 or 4 bytes finds. */
  load(address: number, size: AccessSize): number {
    if (this.#closed('read', address, size).length > 0)
      return Buffer.from(this.readBytes(address, size)).readUIntLE(0, size);
    if (this.machine.memory.isRam(address, size) || address % size === 0)
      return this.machine.bus.readMemory(address, size);
    return joinPieces(address, size, (at, part) => this.machine.bus.readMemory(at, part));
  }

  store(address: number, size: AccessSize, value: number): void {
    if (this.#closed('write', address, size).length > 0) {
      const bytes = Buffer.alloc(size);
      bytes.writeUIntLE(value, 0, size);
      this.writeBytes(address, bytes);
    } else if (this.machine.memory.isRam(address, size) || address % size === 0)
      this.machine.bus.writeMemory(address, size, value);
    else splitPieces(address, size, value, (at, part, bits) => this.machine.bus.writeMemory(at, part, bits));
  }

  /** `length` bytes from `address` on, from RAM at once and from devices in accesses as large as alignment allows. */
  readBytes(address: number, length: number): Uint8Array {
    const bytes = this.#readPieces(address, length);
    for (const { start, end } of this.#closed('read', address, length)) bytes.fill(0xff, start, end);
    return bytes;
  }

  #readPieces(address: number, length: number): Uint8Array {
    const { memory, bus } = this.machine;
    if (length > 0 && memory.isRam(address, length)) return memory.readBytes(address, length);
    const bytes = new Uint8Array(length);
    this.#pieces(address, length, {
      ram: (at, n) => memory.readInto(address + at, bytes, at, n),
      registers: (at, n) => {
        const value = bus.readMemory(address + at, n);
        for (let i = 0; i < n; i++) bytes[at + i] = value >>> (8 * i);
      },
    });
    return bytes;
  }

  writeBytes(address: number, bytes: Uint8Array): void {
    let from = 0;
    for (const { start, end } of this.#closed('write', address, bytes.length)) {
      this.#writePieces(address + from, bytes.subarray(from, start));
      from = end;
    }
    this.#writePieces(address + from, bytes.subarray(from));
  }

  #writePieces(address: number, bytes: Uint8Array): void {
    const { memory, bus } = this.machine;
    this.#pieces(address, bytes.length, {
      ram: (at, n) => memory.writeBytes(address + at, bytes, at, n),
      registers: (at, n) => {
        let value = 0;
        for (let i = n - 1; i >= 0; i--) value = value * 256 + (bytes[at + i] as number);
        bus.writeMemory(address + at, n, value);
      },
    });
  }

  /** Takes a range apart into RAM, and accesses to what is none. */
  #pieces(
    address: number,
    length: number,
    visit: { ram(at: number, bytes: number): void; registers(at: number, bytes: AccessSize): void },
  ): void {
    const { regions } = this.machine.memory;
    for (let at = 0; at < length; ) {
      const here = address + at;
      const region = regions.find(({ base, bytes }) => here >= base && here < base + bytes);
      if (region !== undefined) {
        const n = Math.min(length - at, region.base + region.bytes - here);
        visit.ram(at, n);
        at += n;
        continue;
      }
      const next = regions.reduce(
        (least, { base }) => (base > here ? Math.min(least, base) : least),
        here + length - at,
      );
      const n = pieceAt(here, Math.min(4, next - here));
      visit.registers(at, n);
      at += n;
    }
  }

  // Hot unplug.

  /** The host wants the devices in `slot` back: software is told, and lets them go by the eject register. */
  requestUnplug(slot: number): void {
    this.#unplugging.add(slot);
  }

  /** Slots that software has not let go yet. */
  get unplugging(): readonly number[] {
    return [...this.#unplugging];
  }

  #isRtc(port: number): boolean {
    return (port === RTC_INDEX_PORT || port === RTC_DATA_PORT) && this.kind !== 'none';
  }

  #isHotplug(port: number): boolean {
    return this.kind === 'pc' && port >= HOTPLUG_PORT && port < HOTPLUG_PORT + HOTPLUG_BYTES;
  }

  #hotplugRead(at: number, size: AccessSize): number {
    if ((at & ~3) !== HOTPLUG_DOWN) return 0;
    const slots = this.unplugging.reduce((bits, slot) => (slot < 32 ? bits | (1 << slot) : bits), 0);
    return (slots >>> (8 * (at & 3))) & ones(size);
  }

  #hotplugWrite(at: number, value: number): void {
    if (at !== HOTPLUG_EJECT) return;
    for (let slot = 0; slot < 32; slot++) if ((value & (1 << slot)) !== 0) this.#hooks.eject(slot);
  }

  // Configuration. The low bits of the address register are kept, and count: register = address | port.

  #configTarget(): PciTarget | undefined {
    const address = this.#configAddress;
    if ((address & CONFIG_ENABLE) === 0) return undefined;
    const segment = this.#segmentOf((address >>> 16) & 0xff, 0);
    return segment < 0 ? undefined : this.#functions.get(segment * 256 + ((address >>> 8) & 0xff));
  }

  /** The bus that software has given `number`, seen from bus `from`; −1: none. */
  #segmentOf(number: number, from: number): number {
    if (number === 0) return 0;
    for (const [segment, at] of this.#segments) {
      const bridge = this.#bridges.get(at);
      if (at >> 8 !== from || !(bridge instanceof PciBridge)) continue;
      if (number === bridge.secondary) return segment;
      if (number > bridge.secondary && number <= bridge.subordinate) return this.#segmentOf(number, segment);
    }
    return -1;
  }

  #configRead(port: number, size: AccessSize): number {
    return this.#configTarget()?.configRead((this.#configAddress & 0xff) | (port & 3), size) ?? ones(size);
  }

  #configWrite(port: number, size: AccessSize, value: number): void {
    this.#configTarget()?.configWrite((this.#configAddress & 0xff) | (port & 3), size, value);
  }

  /** As after power-on. RAM keeps its bytes. */
  reset(): void {
    for (const controller of this.machine.controllers) controller.reset('power-on');
    for (const bridge of this.#bridges.values()) bridge.reset();
    this.firmware.reset();
    this.rtc.reset();
    this.#configAddress = 0;
  }

  get state(): BoardState {
    return {
      configAddress: this.#configAddress,
      unplugging: this.unplugging,
      firmware: this.firmware.state,
      rtc: this.rtc.state,
      bridges: [...this.#bridges].map(([devfn, bridge]) => [devfn, bridge.state]),
    };
  }

  set state(state: BoardState) {
    this.#configAddress = state.configAddress;
    this.#unplugging.clear();
    for (const slot of state.unplugging) this.#unplugging.add(slot);
    this.firmware.state = state.firmware;
    this.rtc.state = state.rtc;
    for (const [devfn, registers] of state.bridges) {
      const bridge = this.#bridges.get(devfn);
      if (bridge !== undefined) bridge.state = registers;
    }
  }
}

/** The number of a controller's device and function, −1: it is not there. */
export function devfnOf(board: Board, controller: Controller): number {
  for (const [devfn, target] of board.functions) if (target === controller) return devfn;
  return -1;
}

function ones(size: AccessSize): number {
  return 2 ** (8 * size) - 1;
}

/** The largest access at `address`, aligned to itself, that is not longer than `most`. */
function pieceAt(address: number, most: number): AccessSize {
  if (most >= 4 && address % 4 === 0) return 4;
  return most >= 2 && address % 2 === 0 ? 2 : 1;
}

function joinPieces(
  address: number,
  size: number,
  read: (at: number, part: AccessSize) => number,
  most = 4,
): number {
  let value = 0;
  for (let at = 0; at < size; ) {
    const part = pieceAt(address + at, Math.min(most, size - at));
    value += read(address + at, part) * 2 ** (8 * at);
    at += part;
  }
  return value;
}

function splitPieces(
  address: number,
  size: number,
  value: number,
  write: (at: number, part: AccessSize, bits: number) => void,
): void {
  for (let at = 0; at < size; ) {
    const part = pieceAt(address + at, size - at);
    write(address + at, part, Math.floor(value / 2 ** (8 * at)) % 2 ** (8 * part));
    at += part;
  }
}
