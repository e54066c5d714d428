// createController(): a machine with one controller, RAM that is the embedder's, and no CPU. Everything that is
// particular to being embedded is here: when whom is told of interrupts, whose clock it is, what is an error of the
// embedder and what is a guest's.

import {
  CONTROLLERS,
  type ControllerDescription,
  findController,
  findProfile,
  type PortRange,
  type Profile,
} from '../controllers/index.ts';
import type { Access, Finding } from '../guard/index.ts';
import {
  type AccessSize,
  type BarInfo,
  type Controller,
  type Disk,
  type Fault,
  Machine,
  type ResetKind,
  Snapshot,
} from '../machine/index.ts';
import { memoryOf } from './dma.ts';
import { EmbedError } from './errors.ts';
import { attachMedia, mediaOf, type PlacedDisk, roomFor } from './media.ts';
import type { EmbeddedController, EmbedGuard, EmbedOptions } from './types.ts';
import { moduleOf } from './wasm.ts';

const BUDGET = 1_000_000;
const TWO_32 = 2 ** 32;
const ACCESSES: readonly Access[] = ['read', 'write', 'both'];
/** A name that is not here is a slip: `interrupt` for `irq` would never be called. */
const OPTIONS: Readonly<Record<keyof EmbedOptions, true>> = {
  kind: true,
  profile: true,
  media: true,
  dma: true,
  irq: true,
  irqInside: true,
  msi: true,
  onNotice: true,
  onMedia: true,
  guard: true,
  diskBytes: true,
  number: true,
  wasm: true,
};
const RESETS: readonly ResetKind[] = ['power-on', 'bus', 'function'];

/**
 * Makes a controller for somebody else's machine: as after power-on, its BARs unplaced, bus mastering off. Throws
 * EmbedError, MachineError or the medium's error where the options make no sense.
 */
export async function createController(options: EmbedOptions): Promise<EmbeddedController> {
  checkOptions(options);
  const { description, profile } = boardOf(options);
  const media = mediaOf(options.media);
  const guard = options.guard ?? true;
  const memory = memoryOf(options.dma);
  const machine = new Machine(await moduleOf(options.wasm), {
    external: memory,
    diskBytes: roomFor(media) + (options.diskBytes ?? 0),
    ...(options.number === undefined ? {} : { number: options.number }),
    guard: guard === false ? false : { ...(guard === true ? {} : guard), mappings: 'once-used' },
  });
  machine.listMessages();
  const controller = machine.addController({ kind: description.kind, profile });
  const disks = attachMedia(machine, controller, media);
  return new Embedded(machine, controller, disks, options);
}

function checkOptions(options: EmbedOptions): void {
  if (typeof options !== 'object' || options === null)
    throw new EmbedError('createController() wants at least { kind, media, dma }');
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(OPTIONS, name));
  if (unknown !== undefined)
    throw new EmbedError(`no option is called "${unknown}"; there are ${Object.keys(OPTIONS).join(', ')}`);
  for (const name of ['irq', 'msi', 'onNotice', 'onMedia'] as const) {
    const given: unknown = options[name];
    if (given !== undefined && typeof given !== 'function')
      throw new EmbedError(`${name} is no function, but ${typeof given}`);
  }
  const { diskBytes = 0 } = options;
  if (!(Number.isSafeInteger(diskBytes) && diskBytes >= 0))
    throw new EmbedError(`diskBytes is ${diskBytes}; it must be a whole number of bytes, 0 or more`);
}

function checkMapping(address: number, bytes: number, access: Access): void {
  if (!(Number.isSafeInteger(address + bytes) && address >= 0 && bytes >= 0 && bytes < TWO_32))
    throw new EmbedError(`guard.map(): ${bytes} bytes at ${address} are no addresses below 2^53`);
  if (!ACCESSES.includes(access))
    throw new EmbedError(`guard.map(): access is "${access}"; it must be ${ACCESSES.join(' or ')}`);
}

function boardOf({ kind, profile }: EmbedOptions): { description: ControllerDescription; profile: Profile } {
  const description = findController(kind);
  if (description === undefined) {
    const other = findProfile(kind);
    const kinds = CONTROLLERS.map((known) => known.kind).join(', ');
    const hint = other === undefined ? `there are ${kinds}` : `it is a profile of ${other.description.kind}`;
    throw new EmbedError(`no controller is called "${kind}"; ${hint}`);
  }
  const names = description.profiles.map(({ name }) => name);
  if (typeof profile === 'object') {
    const given = profile as Partial<Profile> | null;
    if (typeof given?.addressBits === 'number' && typeof given.parameters === 'object')
      return { description, profile };
    throw new EmbedError(`profile must be one of ${names.join(', ')}, or have addressBits and parameters`);
  }
  const found = description.profiles.find(({ name }) => name === (profile ?? names[0]));
  if (found === undefined)
    throw new EmbedError(`${kind} has no profile "${profile}"; it has ${names.join(', ')}`);
  return { description, profile: found };
}

class Embedded implements EmbeddedController {
  readonly kind: Controller['kind'];
  readonly profile: Profile;
  readonly bars: readonly BarInfo[];
  readonly ports: readonly PortRange[];
  readonly disks: readonly Disk[];
  readonly controller: Controller;
  readonly guard: EmbedGuard;
  readonly #machine: Machine;
  readonly #options: EmbedOptions;
  /** Bytes behind each BAR, those at fixed ports too; 0: no such BAR. */
  readonly #bytes: readonly number[];
  readonly #lineMask: number;
  /** Where time is to go: further than it is while a medium holds it up. */
  #target = 0;
  /** Lines as `irq` was told of them, those that were low for a moment since, and changes that were looked at. */
  #told = 0;
  #dropped = 0;
  #lines = 0;
  #changes = 0;
  /** Until `onMedia` is called. */
  #waiting: Promise<void> | null = null;

  constructor(machine: Machine, controller: Controller, disks: readonly PlacedDisk[], options: EmbedOptions) {
    this.#machine = machine;
    this.#options = options;
    this.controller = controller;
    this.disks = disks.map(({ disk }) => disk);
    this.kind = controller.kind;
    this.profile = controller.profile;
    this.bars = controller.bars();
    this.ports = controller.description.ports?.(controller.profile) ?? [];
    const bytes = new Array<number>(6).fill(0);
    for (const { index, bytes: size } of this.bars) bytes[index] = size;
    for (const { bar, count } of this.ports) bytes[bar] = count;
    this.#bytes = bytes;
    this.#lineMask = 2 ** controller.lines.length - 1;
    this.guard = {
      map: (address, length, access, where = '') => {
        checkMapping(address, length, access);
        return machine.guard.map(controller, address, length, access, 'guard.map', where);
      },
      unmap: (handle) => machine.guard.unmap(handle),
      findings: (): readonly Finding[] => machine.guard.findings(),
    };
    controller.reset('power-on');
    this.#changes = machine.irqChanges;
  }

  // Registers.

  configRead(at: number, size: AccessSize): number {
    this.#checkSize(size);
    const value = this.controller.configRead(at, size);
    this.#afterAccess();
    return value;
  }

  configWrite(at: number, size: AccessSize, value: number): void {
    this.#checkSize(size);
    this.controller.configWrite(at, size, value);
    this.#afterAccess();
  }

  barAddress(bar: number): number | null {
    this.#checkBar(bar);
    return this.#machine.bus.barAddress(this.controller, bar);
  }

  read(bar: number, at: number, size: AccessSize): number {
    const bytes = this.#checkBar(bar);
    this.#checkSize(size);
    // An access across the end, or past it, is a guest's: nobody answers.
    if (!(at >= 0 && at + size <= bytes)) return 2 ** (8 * size) - 1;
    const { controller } = this;
    const value =
      size === 4
        ? controller.read32(bar, at)
        : size === 2
          ? controller.read16(bar, at)
          : controller.read8(bar, at);
    this.#afterAccess();
    return value;
  }

  write(bar: number, at: number, size: AccessSize, value: number): void {
    const bytes = this.#checkBar(bar);
    this.#checkSize(size);
    if (!(at >= 0 && at + size <= bytes)) return;
    const { controller } = this;
    if (size === 4) controller.write32(bar, at, value);
    else if (size === 2) controller.write16(bar, at, value);
    else controller.write8(bar, at, value);
    this.#afterAccess();
  }

  portRead(port: number, size: AccessSize): number {
    this.#checkPort(port);
    this.#checkSize(size);
    const value = this.#machine.bus.readPort(port, size);
    this.#afterAccess();
    return value;
  }

  portWrite(port: number, size: AccessSize, value: number): void {
    this.#checkPort(port);
    this.#checkSize(size);
    this.#machine.bus.writePort(port, size, value);
    this.#afterAccess();
  }

  // Time.

  run(budget = BUDGET): number {
    if (!(Number.isInteger(budget) && budget > 0 && budget < TWO_32))
      throw new EmbedError(`budget is ${budget}; it must be a whole number of events, at least 1`);
    this.#proceed(budget);
    return this.#lines;
  }

  advance(ns: number): number {
    if (!(ns >= 0 && ns < Number.POSITIVE_INFINITY))
      throw new EmbedError(`advance(${ns}): the time to pass is a number of ns, 0 or more`);
    this.#target = Math.max(this.#target, this.now()) + ns;
    while (this.#proceed(BUDGET) === 'budget');
    return this.#lines;
  }

  now(): number {
    return this.#machine.now();
  }

  nextDeadline(): number {
    return this.#machine.nextDeadline();
  }

  #proceed(budget: number): 'time' | 'media' | 'budget' {
    while (true) {
      const why = this.#machine.step(Math.max(this.#target, this.now()), budget);
      this.#note();
      this.#tell();
      if (why === 'irq' || why === 'parked') continue;
      if (why === 'media') this.#tellMedia();
      return why;
    }
  }

  // Interrupts.

  get lines(): number {
    this.#note();
    return this.#lines;
  }

  poll(): number {
    this.#note();
    this.#tell();
    return this.#lines;
  }

  #afterAccess(): void {
    if (this.#machine.irqChanges === this.#changes) return;
    this.#note();
    if (this.#options.irqInside === true) this.#tell();
  }

  /** Looks at the lines. One that went down and up again has had an edge, which edge-triggered inputs must see. */
  #note(): void {
    const machine = this.#machine;
    const changes = machine.irqChanges;
    if (changes === this.#changes) return;
    const lines = (machine.irqLines >>> this.controller.line) & this.#lineMask;
    const folded = lines === this.#lines && !machine.hasMessages;
    this.#dropped |= folded ? lines : this.#lines & ~lines;
    this.#lines = lines;
    this.#changes = changes;
  }

  #tell(): void {
    const { irq, msi, onNotice } = this.#options;
    if (this.#machine.hasMessages) {
      for (const { address, data } of this.#machine.takeMessages()) msi?.(address, data);
    }
    if (onNotice !== undefined) {
      for (const notice of this.#machine.takeNotices()) this.#options.onNotice?.(notice);
    }
    if (this.#told === this.#lines && this.#dropped === 0) return;
    const told = this.#told;
    const lines = this.#lines;
    const dropped = this.#dropped;
    this.#told = lines;
    this.#dropped = 0;
    for (let i = 0; i < this.controller.lines.length; i++) {
      const was = ((told >>> i) & 1) !== 0;
      const is = ((lines >>> i) & 1) !== 0;
      const fell = ((dropped >>> i) & 1) !== 0;
      if (was && (fell || !is)) irq?.(false, i);
      if (is && (fell || !was)) irq?.(true, i);
    }
  }

  // Media.

  get pendingMedia(): number {
    return this.#machine.pendingMedia;
  }

  waitMedia(): Promise<void> {
    return this.#machine.waitMedia();
  }

  get mediaFailures(): readonly string[] {
    return this.#machine.mediaFailures;
  }

  get parkedRequests(): number {
    return this.#machine.parkedRequests;
  }

  retry(): void {
    this.#machine.retry();
  }

  release(disk: Disk, tag?: number): void {
    this.#machine.release(disk, tag);
  }

  addFault(fault: Fault): void {
    this.#machine.addFault(fault);
  }

  #tellMedia(): void {
    const { onMedia } = this.#options;
    if (this.#waiting !== null || onMedia === undefined) return;
    this.#waiting = this.#machine.waitMedia().then(() => {
      this.#waiting = null;
      this.#options.onMedia?.();
    });
  }

  // Life.

  reset(kind: ResetKind = 'power-on'): void {
    if (!RESETS.includes(kind))
      throw new EmbedError(`no reset is called "${kind}"; there are ${RESETS.join(', ')}`);
    this.controller.reset(kind);
    this.poll();
  }

  enable(memoryBase?: number, ioBase?: number): void {
    this.controller.enable(memoryBase, ioBase);
  }

  save(): Uint8Array {
    return this.#machine.save().toBytes();
  }

  restore(bytes: Uint8Array): void {
    if (!(bytes instanceof Uint8Array)) throw new EmbedError('restore() wants the bytes that save() gave');
    this.#machine.restore(Snapshot.fromBytes(bytes));
    this.#target = this.now();
    this.#dropped = 0;
    this.#changes = -1;
    this.poll();
  }

  async close(): Promise<void> {
    await this.#machine.idleMedia();
    const media = new Set(this.disks.flatMap(({ medium }) => medium ?? []));
    for (const medium of media) await medium.close();
  }

  // What the embedder got wrong.

  #checkSize(size: number): void {
    if (size === 1 || size === 2 || size === 4) return;
    throw new EmbedError(`an access of ${size} bytes; it must be of 1, 2 or 4`);
  }

  /** Bytes behind the BAR. */
  #checkBar(bar: number): number {
    const bytes = this.#bytes[bar] ?? 0;
    if (bytes !== 0) return bytes;
    const known = this.#bytes.flatMap((size, i) => (size === 0 ? [] : [i]));
    throw new EmbedError(`${this.kind} has no BAR ${bar}; it has ${known.join(', ')}`);
  }

  #checkPort(port: number): void {
    if (this.ports.some(({ first, count }) => port >= first && port < first + count)) return;
    const known = this.ports.map(({ first, count }) => `${hex(first)}–${hex(first + count - 1)}`);
    const have = known.length === 0 ? 'it has none at fixed numbers' : `it has ${known.join(', ')}`;
    throw new EmbedError(`${this.kind} has no port ${hex(port)}; ${have}`);
  }
}

function hex(port: number): string {
  return `${port.toString(16)}h`;
}
