// One v86 machine with our controllers in it: what they share. It steps into v86's own functions, once a machine, for
// configuration space, time, resets and saved states.

import { EmbedError } from '../embed/index.ts';
import { SnapshotError } from '../machine/index.ts';
import { currentView, type V86Cpu } from './cpu.ts';
import { Interrupts } from './interrupts.ts';
import { MemoryMap } from './memory-map.ts';

/** A controller in the machine, as the host sees it. */
export interface Guest {
  /** The same in a machine that a state is restored into: slot and kind. */
  readonly key: string;
  /** Slot × 8, −1 on ISA. */
  readonly pciId: number;
  configRead(at: number): number;
  configWrite(at: number, size: 1 | 2 | 4, value: number): void;
  /** v86's clock says `now` ms; returns in how many ms something is due. */
  tick(now: number): number;
  reset(): void;
  save(): Uint8Array;
  /** Changes nothing where it throws: `bytes` are another controller's. */
  restore(bytes: Uint8Array): void;
  /** The machine around it has been restored, too. */
  restored(): void;
}

/** Where our part of a saved state is in v86's list, which ends far below. */
const STATE_AT = 200;
const STATE_NAME = 'backplane';
/** Where v86 keeps its time-stamp counter in that list, and by how many ns it may be off. */
const COUNTER_AT = 43;
const COUNTER_SLACK = 100_000_000n;
/** v86's machine keeps its host here, so that two controllers share one. */
const HOST = Symbol.for('backplane.v86');

export class Host {
  readonly cpu: V86Cpu;
  readonly interrupts: Interrupts;
  readonly memoryMap: MemoryMap;
  /** RAM as it is now. */
  readonly ram: () => Uint8Array;
  readonly #guests: Guest[] = [];

  private constructor(cpu: V86Cpu) {
    this.cpu = cpu;
    this.interrupts = new Interrupts(cpu);
    this.memoryMap = new MemoryMap(cpu);
    this.ram = currentView(cpu, cpu.mem8, Uint8Array);
    this.#wrapConfiguration();
    this.#wrapTime();
    this.#wrapStates();
  }

  /** The host of a machine, made when it is asked for first. */
  static of(cpu: V86Cpu & { [HOST]?: Host }): Host {
    cpu[HOST] ??= new Host(cpu);
    return cpu[HOST];
  }

  add(guest: Guest): void {
    this.#guests.push(guest);
  }

  /** Whether a controller of the name is in the machine. */
  has(key: string): boolean {
    return this.#guests.some((guest) => guest.key === key);
  }

  #at(address: number): Guest | undefined {
    const id = (address >>> 8) & 0xffff;
    return this.#guests.find((guest) => guest.pciId === id);
  }

  /** v86 keeps what is written as it is; our functions know which of their bits are writable, and what a write does. */
  #wrapConfiguration(): void {
    const { pci } = this.cpu.devices;
    for (const [name, size] of [
      ['pci_write8', 1],
      ['pci_write16', 2],
      ['pci_write32', 4],
    ] as const) {
      const write = pci[name].bind(pci);
      pci[name] = (address, value) => {
        const guest = this.#at(address);
        if (guest === undefined) write(address, value);
        else guest.configWrite(address & 0xff, size, value);
      };
    }
    const query = pci.pci_query.bind(pci);
    pci.pci_query = () => {
      const [register = 0, low = 0, high = 0] = pci.pci_addr;
      const id = (high << 8) | low;
      const guest = this.#guests.find((candidate) => candidate.pciId === id);
      const space = pci.device_spaces[id];
      if (guest !== undefined && space !== undefined)
        space[register >> 2] = guest.configRead(register & 0xfc);
      query();
    };
  }

  /** Between instructions, and when the CPU halts. */
  #wrapTime(): void {
    const { cpu } = this;
    const timers = cpu.run_hardware_timers.bind(cpu);
    cpu.run_hardware_timers = (acpi, now) => {
      let wait = timers(acpi, now);
      for (const guest of this.#guests) wait = Math.min(wait, guest.tick(now));
      return wait;
    };
  }

  #wrapStates(): void {
    const { cpu } = this;
    const reboot = cpu.reboot_internal.bind(cpu);
    cpu.reboot_internal = () => {
      for (const guest of this.#guests) guest.reset();
      reboot();
    };
    const getState = cpu.get_state.bind(cpu);
    cpu.get_state = () => {
      const state = getState();
      state[STATE_AT] = [
        STATE_NAME,
        this.interrupts.save().map((pair) => [...pair]),
        this.#guests.map((guest) => [guest.key, guest.save()]),
      ];
      return state;
    };
    const setState = cpu.set_state.bind(cpu);
    cpu.set_state = (state) => {
      const { asserted, controllers } = ourPart(state[STATE_AT]);
      for (const guest of this.#guests) {
        if (!controllers.has(guest.key))
          throw new EmbedError(
            `the state was saved without ${guest.key}; it has ${[...controllers.keys()].join(', ') || 'no controller'}`,
          );
      }
      this.#restoreGuests(controllers);
      withAllBars(cpu, () => setState(state));
      setCounter(cpu, state[COUNTER_AT]);
      this.interrupts.restore(asserted);
      for (const guest of this.#guests) guest.restored();
    };
  }

  /** All of them or, where one cannot be, none. */
  #restoreGuests(controllers: ReadonlyMap<string, Uint8Array>): void {
    const undo: (() => void)[] = [];
    try {
      for (const guest of this.#guests) {
        const before = guest === this.#guests.at(-1) ? null : guest.save();
        restoreGuest(guest, controllers.get(guest.key) as Uint8Array);
        if (before !== null) undo.push(() => guest.restore(before));
      }
    } catch (error) {
      for (const back of undo) back();
      throw error;
    }
  }
}

function restoreGuest(guest: Guest, bytes: Uint8Array): void {
  try {
    guest.restore(bytes);
  } catch (error) {
    if (error instanceof SnapshotError) throw new EmbedError(`${guest.key}: ${error.message}`);
    throw error;
  }
}

interface OurPart {
  readonly asserted: readonly (readonly [number, number])[];
  readonly controllers: ReadonlyMap<string, Uint8Array>;
}

function ourPart(part: unknown): OurPart {
  if (!Array.isArray(part) || part[0] !== STATE_NAME) return { asserted: [], controllers: new Map() };
  const [, asserted, controllers] = part as [string, [number, number][], [string, Uint8Array][]];
  return { asserted, controllers: new Map(controllers) };
}

/**
 * v86 looks up every BAR that a saved state has a port in, and its own IDE has one in each place, whether there is a
 * BAR or not: without a hard disk of v86's its states could not be restored. A BAR of no ports is what it gets.
 */
function withAllBars({ devices: { pci } }: V86Cpu, work: () => void): void {
  const filled: { readonly bars: unknown[]; readonly i: number }[] = [];
  for (const device of pci.devices) {
    const bars = device?.pci_bars ?? [];
    for (let i = 0; i < bars.length; i++) {
      if (bars[i] !== undefined) continue;
      filled.push({ bars, i });
      bars[i] = { size: 0, original_bar: 0, entries: [] };
    }
  }
  try {
    work();
  } finally {
    for (const { bars, i } of filled) bars[i] = undefined;
  }
}

/**
 * v86 sets its time-stamp counter by what it shows, which is right the first time only: afterwards the guest's clock
 * would jump, and commands time out. Where it is off, it is set by what it counts.
 */
function setCounter(cpu: V86Cpu, saved: unknown): void {
  if (!(saved instanceof Uint32Array)) return;
  const right = joined(saved);
  const set = (value: bigint): void => cpu.set_tsc(Number(value & 0xffffffffn), Number(value >> 32n));
  const before = counterOf(cpu);
  set(right);
  const off = BigInt.asIntN(64, counterOf(cpu) - right);
  if (off < -COUNTER_SLACK || off > COUNTER_SLACK) set(BigInt.asUintN(64, 2n * right - before));
}

function counterOf(cpu: V86Cpu): bigint {
  cpu.store_current_tsc();
  return joined(cpu.current_tsc);
}

function joined([low = 0, high = 0]: Uint32Array): bigint {
  return (BigInt(high) << 32n) | BigInt(low);
}
