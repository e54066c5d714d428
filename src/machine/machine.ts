// One emulated computer: RAM, controllers, disks, interrupt lines, virtual clock. It loads the hardware module
// on a memory of its own and is everything that a kernel stands on.

import { RUN_BUDGET, RUN_IRQ, RUN_MEDIA, RUN_PARKED } from '../../assembly/bus/codes.ts';
import {
  AT_EVENT_COUNT,
  AT_EVENTS,
  AT_FREE,
  AT_HOST_PENDING,
  AT_IRQ_CHANGES,
  AT_IRQ_LINES,
  AT_MACHINE_NUMBER,
  AT_MESSAGE_COUNT,
  AT_MESSAGES,
  AT_MESSAGES_WANTED,
  AT_NOW,
  AT_PARKED_COUNT,
  AT_SCRATCH,
  DISK_MAX,
  EVENT_DUE,
  MESSAGE_STRIDE,
  SCRATCH_BYTES,
} from '../../assembly/bus/layout.ts';
import { DISK_HOST, DISK_RAM } from '../../assembly/media/codes.ts';
import { Guard } from '../guard/index.ts';
import { type Medium, ramMedium } from '../media/index.ts';
import { Tracer } from '../trace/index.ts';
import { Arena, wordIn } from './arena.ts';
import { Bus } from './bus.ts';
import { Controller } from './controller.ts';
import { checkTexts, Disk, type DiskOptions, RAM_DISK_MAX } from './disk.ts';
import { DISC_BLOCK, Drive, type DriveHardware, type DriveOptions } from './drive.ts';
import { MachineError, SnapshotError } from './errors.ts';
import { type ExternalMemory, RunList } from './external.ts';
import { type Fault, writeFault } from './faults.ts';
import { HostMedia, type SavedMedia } from './host-media.ts';
import { type MediaNotice, takeNotices } from './media-notice.ts';
import { type Flavour, type HardwareExports, instantiate, loadModule } from './module.ts';
import {
  type ControllerOptions,
  guardBytes,
  guardOf,
  type MachineOptions,
  numberOf,
  REGION_RULE,
  regionsOf,
  resolve,
  writeProfile,
} from './options.ts';
import { type AccessHook, type BackedRegion, PhysMem, type RamRegion } from './phys-mem.ts';
import { checkLayout, checkShape, type Layout, layoutOf, shapeOf } from './shape.ts';
import { type HostParts, Snapshot } from './snapshot.ts';

const MIB = 2 ** 20;
const TWO_32 = 2 ** 32;

/** A message-signalled interrupt as the device sent it. */
export interface Message {
  readonly address: number;
  readonly data: number;
}

/**
 * Why advance() came back: the time is reached, an interrupt changed, a medium has to wait for the host, a medium failed and
 * its request is parked (DiskOptions.readErrors, writeErrors).
 */
export type RunResult = 'time' | 'irq' | 'media' | 'parked';

/** Events that one call into the module delivers before it looks at the host again. */
const EVENT_BUDGET = 1_000_000;
/** What the fixed parts, controllers and their tables need beside RAM, disks and the guard. */
const CONTROLLER_BYTES = 4 * MIB;
const PAGE = 4096;
const FOREVER = 2 ** 53;

/** Makes a machine; compiles the module unless one is given. */
export async function createMachine(
  options: MachineOptions & { readonly flavour?: Flavour; readonly module?: WebAssembly.Module } = {},
): Promise<Machine> {
  return new Machine(options.module ?? (await loadModule(options.flavour)), options);
}

export class Machine {
  readonly memory: PhysMem;
  /** RAM that is not ours. */
  readonly external: readonly RamRegion[];
  /** The CPU's view of addresses: ports, memory, PCI configuration. */
  readonly bus: Bus;
  readonly guard: Guard;
  /** Typed events of every layer; off until somebody listens. */
  readonly tracer: Tracer;
  readonly controllers: readonly Controller[];
  readonly disks: readonly Disk[];
  /** The module's whole memory; its layout is in assembly/bus/layout.ts. To be read: what is written here no snapshot sees. */
  readonly buffer: ArrayBuffer;
  readonly #hw: HardwareExports;
  readonly #media: HostMedia;
  readonly #arena: Arena;
  readonly #u32: Uint32Array;
  readonly #controllers: Controller[] = [];
  readonly #disks: Disk[] = [];
  readonly #access: AccessHook = { run: null };
  readonly #drives: DriveHardware = {
    change: (drive, kind, sectors, medium) => this.#changeMedium(drive, kind, sectors, medium),
    move: (drive, how) => this.#hw.moveTray(drive.offset, how) !== 0,
  };
  #memoryBase = 0xfe000000;
  #ioBase = 0xc000;
  /** What layoutOf() and shapeOf() say, and the snapshot that was restored or taken last, with its media as they are here. */
  #layout: Layout | null = null;
  #shape: readonly string[] | null = null;
  #last: { snapshot: Snapshot; media: SavedMedia } | null = null;

  /** `module` comes from loadModule(); createMachine() does both. Throws MachineError for a bad layout. */
  constructor(module: WebAssembly.Module, options: MachineOptions = {}) {
    const { external } = options;
    if (external !== undefined && options.ram !== undefined)
      throw new MachineError('a machine has `ram` or `external`, not both');
    const layout = external === undefined ? regionsOf(options.ram ?? 'default') : [];
    const guard = guardOf(options);
    const number = numberOf(options);
    const ramBytes = layout.reduce((sum, region) => sum + region.bytes, 0);
    const diskBytes = options.diskBytes ?? (options.ram === 'small' ? MIB : 64 * MIB);
    const guarded = external?.regions.reduce((sum, region) => sum + region.bytes, 0) ?? ramBytes;
    const bytes = AT_FREE + ramBytes + diskBytes + guardBytes(guarded, guard) + CONTROLLER_BYTES;
    // Five bytes a page for the table of pages that changed.
    const pages = Math.ceil((bytes + Math.ceil(bytes / PAGE) * 5) / 65536) + 1;
    if (pages > 65536)
      throw new MachineError(`RAM and disks need ${bytes} bytes; a module's memory ends at 4 GiB`);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.buffer = memory.buffer;
    this.#u32 = new Uint32Array(this.buffer);
    const runs = new RunList(this.buffer, external ?? null);
    this.#media = new HostMedia(runs, {
      ready: (request) => this.#hw.mediaReady(request),
      fail: (request, status, failedAt) => this.#hw.mediaFail(request, status, failedAt),
    });
    this.#hw = instantiate(module, memory, { ...this.#media.imports, ...runs.imports });
    this.#hw.init(Math.min(pages * 65536, 2 ** 32 - 65536));
    this.#u32[AT_MACHINE_NUMBER >>> 2] = number;
    this.#arena = new Arena(this.#hw, this.buffer);
    this.memory = new PhysMem(
      this.buffer,
      layout.map((region) => this.#addRam(region)),
      this.#access,
      this.#arena.dirty,
    );
    this.external = this.#addExternal(external);
    this.bus = new Bus(this.memory);
    this.guard = new Guard({ ...this.#hw, buffer: this.buffer }, guard);
    if (this.guard.watchesWrites) {
      this.memory.watchBytes({
        written: (index, length) => this.#hw.guardWritten(index, length, 1),
        forgotten: (index, length) => this.#hw.guardWritten(index, length, 0),
        copied: (to, from, length) => this.#hw.guardCopied(to, from, length),
      });
    }
    this.tracer = new Tracer({ buffer: this.buffer, now: () => this.now() });
    this.controllers = this.#controllers;
    this.disks = this.#disks;
  }

  /** Adds a controller, PCI ones with their BARs placed and bus mastering on, as after a BIOS. */
  addController(options: ControllerOptions): Controller {
    const { description, profile } = resolve(options);
    const line = options.line ?? description.line;
    const last = 32 - (description.lines ?? 1);
    if (!(Number.isInteger(line) && line >= 0 && line <= last)) {
      throw new MachineError(`line is ${line}; it must be a whole number from 0 to ${last}`);
    }
    const slot = this.bus.slotFor(description, options.slot);
    writeProfile(new Uint32Array(this.buffer, AT_SCRATCH, SCRATCH_BYTES / 4), description, profile);
    const offset = this.#hw.createController(description.code, line);
    if (offset === 0) throw new MachineError(`no room for another ${description.kind} controller`);
    const number = this.#controllers.filter((other) => other.kind === description.kind).length;
    const name = `${description.kind}.${number}`;
    const controller = new Controller(
      this.#hw,
      this.buffer,
      offset,
      name,
      description,
      profile,
      line,
      this.#access,
    );
    this.guard.introduce(controller);
    this.tracer.introduce(controller);
    const next = controller.enable(this.#memoryBase, this.#ioBase);
    this.#memoryBase = next.memoryBase;
    this.#ioBase = next.ioBase;
    this.bus.add(controller, slot);
    this.#shape = null;
    this.#controllers.push(controller);
    return controller;
  }

  /**
   * Takes a PCI controller out of the running machine: it stops where it is, its disks are free for others, and nothing
   * decodes its addresses any more. It keeps its memory and its place in `controllers`.
   */
  removeController(controller: Controller): void {
    controller.reset('power-on');
    for (const place of [...controller.disks.keys()]) {
      const [number = 0, unit = 0] = place.split('.').map(Number);
      controller.detachDisk(number, unit);
    }
    this.bus.remove(controller);
    this.#shape = null;
  }

  /** Adds a disk; Controller.attach() puts it somewhere. Throws MachineError for a bad size. */
  addDisk(options: DiskOptions): Disk {
    checkTexts(options);
    const sectorBytes = options.sectorBytes ?? 512;
    const bytes = options.medium?.bytes ?? options.bytes ?? 0;
    if (!(Number.isSafeInteger(bytes) && bytes > 0 && bytes % sectorBytes === 0)) {
      throw new MachineError(
        `a disk of ${bytes} bytes: the size must be a multiple of the sector, ${sectorBytes} bytes`,
      );
    }
    const medium = options.medium ?? (bytes > RAM_DISK_MAX ? ramMedium(bytes, { name: 'memory' }) : null);
    const sectors = bytes / sectorBytes;
    const offset = this.#hw.createDisk(
      medium === null ? DISK_RAM : DISK_HOST,
      (sectors % 2 ** 32) | 0,
      Math.floor(sectors / 2 ** 32),
      Math.log2(sectorBytes),
    );
    if (offset === 0) {
      const many = this.#disks.length >= DISK_MAX;
      throw new MachineError(
        many
          ? `a machine has at most ${DISK_MAX} disks`
          : `no room for a RAM disk of ${bytes} bytes: raise diskBytes of the machine`,
      );
    }
    const held = { ...options, ...(medium === null ? {} : { medium }) };
    const disk = new Disk(this.buffer, offset, held, this.#arena.dirty, (which, size) =>
      this.#resizeDisk(which, size),
    );
    this.#shape = null;
    if (medium !== null) this.#media.add(disk.id, medium, sectorBytes, options);
    this.#disks.push(disk);
    return disk;
  }

  /** Adds an optical drive, with a medium in it or empty. Throws MachineError for a medium of a bad size. */
  addDrive(options: DriveOptions = {}): Drive {
    checkTexts(options);
    const offset = this.#hw.createDrive();
    if (offset === 0) throw new MachineError(`a machine has at most ${DISK_MAX} disks`);
    const drive = new Drive(this.buffer, offset, options, this.#arena.dirty, this.#drives);
    this.#disks.push(drive);
    this.#shape = null;
    if (options.bytes !== undefined || options.medium !== undefined) {
      drive.load(options);
      this.#hw.settleDrive(offset);
    }
    return drive;
  }

  /** Adds an entry to the fault plan. Throws MachineError for a bad field or a full plan. */
  addFault(fault: Fault): void {
    writeFault(this.buffer, fault);
  }

  // Time.

  /** Virtual time in ns. */
  now(): number {
    // Read where it stands: a call into the module costs five times as much, and kernels ask for every request.
    const words = this.#u32;
    return (words[AT_NOW >>> 2] as number) + (words[(AT_NOW >>> 2) + 1] as number) * TWO_32;
  }

  /** When the hardware's next event is due, in ns of virtual time; Infinity when there is none. */
  nextDeadline(): number {
    const words = this.#u32;
    if (words[AT_EVENT_COUNT >>> 2] === 0) return Number.POSITIVE_INFINITY;
    const at = (AT_EVENTS + EVENT_DUE) >>> 2;
    return (words[at] as number) + (words[at + 1] as number) * TWO_32;
  }

  /**
   * Runs the hardware up to `untilNs`, or to the first moment when an interrupt changes or a medium has to
   * wait for the host, or a request is parked. With Infinity time stops at the last event.
   */
  advance(untilNs: number): RunResult {
    const endless = untilNs === Number.POSITIVE_INFINITY;
    let until = Math.min(untilNs, FOREVER);
    while (true) {
      if (endless) {
        until = this.nextDeadline();
        if (until === Number.POSITIVE_INFINITY) return 'time';
      }
      const why = this.step(until, EVENT_BUDGET);
      if (why === 'time' && endless) continue;
      if (why !== 'budget') return why;
    }
  }

  /** As advance() to a time that is not Infinity, for at most `budget` events, at least one: `budget` where more are due. */
  step(untilNs: number, budget: number): RunResult | 'budget' {
    const why = this.#hw.run(untilNs, budget);
    if (this.tracer.enabled) this.tracer.collect();
    if (why === RUN_IRQ) return 'irq';
    if (why === RUN_MEDIA) {
      this.#media.stopFor();
      return 'media';
    }
    if (why === RUN_PARKED) return 'parked';
    return why === RUN_BUDGET ? 'budget' : 'time';
  }

  /** Runs until no event is left; interrupts stay pending. Throws MachineError if a medium is asynchronous. */
  settle(): void {
    while (this.nextDeadline() !== Number.POSITIVE_INFINITY) {
      if (this.advance(Number.POSITIVE_INFINITY) === 'media') {
        throw new MachineError('a medium is asynchronous: use settleAsync()');
      }
    }
  }

  /** As settle(), with any medium. */
  async settleAsync(): Promise<void> {
    while (this.nextDeadline() !== Number.POSITIVE_INFINITY) {
      if (this.advance(Number.POSITIVE_INFINITY) === 'media') await this.waitMedia();
    }
  }

  /** Resolves when a medium has answered since advance() stopped for one. */
  waitMedia(): Promise<void> {
    return this.#media.wait();
  }

  /**
   * Resolves when no asynchronous medium works for the machine any more, on requests that were given up (reset,
   * abort) either: before media are closed, or their content is looked at.
   */
  idleMedia(): Promise<void> {
    return this.#media.idle();
  }

  /** What media said when they failed, the last 256: a device reports no more than a medium error. */
  get mediaFailures(): readonly string[] {
    return this.#media.failures;
  }

  /** Requests that wait for an asynchronous medium. */
  get pendingMedia(): number {
    return this.#u32[AT_HOST_PENDING >>> 2] as number;
  }

  /** Requests that are parked: for an error, or held by the fault plan. */
  get parkedRequests(): number {
    return this.#u32[AT_PARKED_COUNT >>> 2] as number;
  }

  /** Has every request tried again that is parked for an error, on all disks. What fails again is parked again. */
  retry(): void {
    this.#hw.retryRequests();
  }

  /** Has go on what the fault plan holds for the disk under the number `tag` (a fault's `argument`), and holds no more. */
  release(disk: Disk, tag = 0): void {
    this.#hw.releaseRequests(disk.id, tag);
  }

  /** What happened to trays and requests since it was asked last, in order: the first 16. */
  takeNotices(): MediaNotice[] {
    return takeNotices(this.#u32, this.#disks);
  }

  // Snapshots.

  /**
   * The hardware as it is now, in the middle of commands too. Changes nothing: what follows is the same as without it.
   * From the second time on it costs as much as has changed since. Throws SnapshotError from within a medium's functions.
   */
  save(): Snapshot {
    const host = this.#saveHost();
    const snapshot = new Snapshot({
      layout: this.#ourLayout(),
      shape: this.#ourShape(),
      arena: this.#arena.save(),
      host,
    });
    this.#last = { snapshot, media: host.media };
    return snapshot;
  }

  /**
   * Makes the hardware what it was when the snapshot was taken, here or in another machine of the same parts: what
   * happens from here on is the same, event for event. The last snapshot costs as much as has changed since. What
   * media were asked for until now is void, what they were doing when the snapshot was taken they are asked for again.
   * Listeners, hooks, kernels and drivers stay as they are. Throws SnapshotError if the snapshot is of another build
   * or of a machine of other parts, before anything has changed.
   */
  restore(snapshot: Snapshot): void {
    const { arena, host } = snapshot.parts;
    this.#media.checkIdle();
    const isLast = snapshot === this.#last?.snapshot && this.#shape !== null;
    const media = isLast ? (this.#last?.media ?? host.media) : this.#acceptMedia(snapshot);
    this.tracer.collect();
    this.#arena.restore(arena);
    this.guard.restore(host.guard);
    this.bus.configAddress = host.configAddress;
    for (const [i, controller] of this.#controllers.entries()) {
      const here = host.places.filter(([number]) => number === i);
      controller.setDisks(here.map(([, place, disk]) => [place, this.#disks[disk] as Disk])); // the shapes agree
    }
    this.#media.restore(media);
    this.#last = { snapshot, media };
  }

  /** Throws SnapshotError unless the snapshot fits; its media as those here take them. */
  #acceptMedia({ parts: { layout, shape, arena, host } }: Snapshot): SavedMedia {
    checkLayout(layout, this.#ourLayout());
    checkShape(shape, this.#ourShape(), (number) => {
      const disk = this.#disks[number - 1];
      if (disk === undefined) return false;
      return disk.bytesIn((at) => wordIn(arena, at)) === disk.bytes && disk.bytes === disk.medium?.bytes;
    });
    if (!this.#arena.fits(arena))
      throw new SnapshotError('the snapshot is damaged: its memory is laid out in another way');
    return this.#media.accept(host.media);
  }

  #saveHost(): HostParts {
    const places = this.#controllers.flatMap((controller, i) =>
      Array.from(controller.disks, ([place, disk]) => [i, place, this.#disks.indexOf(disk)] as const),
    );
    const { configAddress } = this.bus;
    return { configAddress, places, guard: this.guard.save(), media: this.#media.save() };
  }

  #ourLayout(): Layout {
    this.#layout ??= layoutOf(this.#hw);
    return this.#layout;
  }

  #ourShape(): readonly string[] {
    const { checks, capacity } = this.guard;
    this.#shape ??= shapeOf({
      memoryBytes: this.buffer.byteLength,
      regions: this.memory.regions,
      external: this.external,
      guard: this.guard.enabled ? `a guard of ${capacity} mappings with checks ${checks}` : 'no guard',
      controllers: this.#controllers,
      disks: this.#disks,
      bus: this.bus,
    });
    return this.#shape;
  }

  // Interrupts.

  /** Lines that are asserted now, one bit a line. */
  get irqLines(): number {
    return this.#u32[AT_IRQ_LINES >>> 2] as number;
  }

  /** Counts every change of a line and every message. */
  get irqChanges(): number {
    return this.#u32[AT_IRQ_CHANGES >>> 2] as number;
  }

  /**
   * Has `hook` called at every access of the CPU: before one to RAM, after one to a register. That is where a kernel may
   * let an interrupt come in. Null: nobody, which costs one comparison an access.
   */
  onAccess(hook: (() => void) | null): void {
    this.#access.run = hook;
    this.memory.accessChanged();
  }

  /**
   * Has messages that no RAM takes listed, for an interrupt controller that is not ours: takeMessages() has them, and
   * takeMsi() none any more.
   */
  listMessages(): void {
    this.#u32[AT_MESSAGES_WANTED >>> 2] = 1;
  }

  get hasMessages(): boolean {
    return this.#u32[AT_MESSAGE_COUNT >>> 2] !== 0;
  }

  /** The messages that were sent since the last call, in order; equal ones only once. */
  takeMessages(): Message[] {
    const count = this.#u32[AT_MESSAGE_COUNT >>> 2] as number;
    this.#u32[AT_MESSAGE_COUNT >>> 2] = 0;
    return Array.from({ length: count }, (_, i) => {
      const [low = 0, high = 0, data = 0] = this.#u32.subarray((AT_MESSAGES + i * MESSAGE_STRIDE) >>> 2);
      return { address: high * TWO_32 + low, data };
    });
  }

  /** The lowest message-signalled vector that is pending, taken off the list; −1: none. */
  takeMsi(): number {
    return this.#hw.takeMessage();
  }

  #resizeDisk(disk: Disk, bytes: number): void {
    const { medium, sectorBytes } = disk;
    if (!(Number.isSafeInteger(bytes) && bytes > 0 && bytes % sectorBytes === 0)) {
      throw new MachineError(
        `bytes is ${bytes}; the size must be a multiple of the sector, ${sectorBytes} bytes`,
      );
    }
    if (medium !== null) {
      if (bytes < disk.bytes && medium.shrink === undefined)
        throw new MachineError(`${medium.name} can only grow, from ${disk.bytes} bytes`);
      if (medium.bytes < bytes && medium.grow === undefined)
        throw new MachineError(`${medium.name} cannot grow`);
      if (medium.bytes < bytes) medium.grow?.(bytes);
      if (bytes < disk.bytes) medium.shrink?.(bytes);
    }
    const sectors = bytes / sectorBytes;
    const done = this.#hw.resizeDisk(disk.offset, (sectors % 2 ** 32) | 0, Math.floor(sectors / 2 ** 32));
    this.#shape = null;
    if (done === 0)
      throw new MachineError(`no room for a RAM disk of ${bytes} bytes: raise diskBytes of the machine`);
  }

  #changeMedium(drive: Drive, kind: number, sectors: number, medium: Medium | null): boolean {
    this.#shape = null;
    if (
      this.#hw.changeMedium(drive.offset, kind, (sectors % 2 ** 32) | 0, Math.floor(sectors / 2 ** 32)) === 0
    )
      return false;
    if (medium === null) this.#media.remove(drive.id);
    else this.#media.add(drive.id, medium, DISC_BLOCK);
    return true;
  }

  #addRam(region: RamRegion): BackedRegion {
    const offset = this.#hw.addRam(
      (region.base % 2 ** 32) | 0,
      Math.floor(region.base / 2 ** 32),
      region.bytes,
    );
    if (offset === 0) throw new MachineError(`RAM at 0x${region.base.toString(16)}: ${REGION_RULE}`);
    return { ...region, offset: offset >>> 0 };
  }

  #addExternal(external: ExternalMemory | undefined): readonly RamRegion[] {
    if (external === undefined) return [];
    for (const { base, bytes } of regionsOf(external.regions)) {
      const done = this.#hw.addExternal((base % TWO_32) | 0, Math.floor(base / TWO_32), bytes);
      if (done === 0) throw new MachineError(`RAM at 0x${base.toString(16)}: ${REGION_RULE}`);
    }
    return external.regions;
  }
}
