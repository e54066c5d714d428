// The running machine behind the protocols: made from a command line, run after every command, stopped by errors of its
// disks, reset, and with devices that come and go.

import type { GuardOptions } from '../guard/index.ts';
import { createMachine, type Machine, type MediaNotice, type RamRegion } from '../machine/index.ts';
import { Backends } from './backends.ts';
import { type BlockDrive, BlockGraph } from './block/graph.ts';
import type { ReadText } from './block/spec.ts';
import { Board, type BoardState } from './board.ts';
import type { CommandLine, MachineKind } from './command-line.ts';
import { type Device, DeviceTree } from './device-tree.ts';
import { QtestError } from './errors.ts';
import { firmwareFiles, writeBootOrder, writeSettings } from './firmware.ts';
import type { Options } from './options.ts';

/** What QMP calls the state that the machine is in. */
export type RunState =
  | 'running'
  | 'paused'
  | 'prelaunch'
  | 'io-error'
  | 'inmigrate'
  | 'finish-migrate'
  | 'postmigrate';

export type EventData = Readonly<Record<string, unknown>>;

export interface SystemListener {
  /** An input of the interrupt controller changed while somebody watches. */
  interrupt(input: number, raised: boolean): void;
  /** Something that QMP reports. */
  event(name: string, data?: EventData): void;
}

export interface SystemOptions {
  readonly readText: ReadText;
  readonly module?: WebAssembly.Module;
  readonly guard?: boolean | GuardOptions;
  /** The host's time, in seconds since 1970, for the machine's clock; without it the year 2000 begins. */
  readonly startSeconds?: number;
}

/**
 * Virtual time that devices may take after a command before the next one is read, and events in it at most. One that was
 * not done by then, because its program runs for ever, gets the shorter time from then on.
 */
const SETTLE_NS = 200_000_000;
const SETTLE_ENDLESS_NS = 100_000;
const SETTLE_EVENTS = 100_000;
const GIB = 2 ** 30;
const YEAR_2000 = Date.UTC(2000) / 1000;
/** RAM below 4 GiB: as much as there is room for below the windows of PCI. */
const LOW_RAM: Readonly<Record<MachineKind, number>> = { pc: 3.5 * GIB, q35: 2.75 * GIB, none: 3.5 * GIB };
const LOW_RAM_IF_MORE: Readonly<Record<MachineKind, number>> = { pc: 3 * GIB, q35: 2 * GIB, none: 3 * GIB };
/** A module's memory ends at 4 GiB, and has more in it than RAM. */
const RAM_MAX = 3.5 * GIB;
const PAGE = 4096;
/** Memory of the module for devices' own memory, beside what every machine has. */
const DEVICE_BYTES = 64 * 2 ** 20;
/** Devices that stand for the CD-ROM drive that a machine has by itself. */
const REPLACES_CDROM = ['ide-cd', 'ide-hd', 'scsi-cd', 'scsi-hd'];
const DEFAULT_CDROM_INDEX = 2;

export class System {
  readonly machine: Machine;
  readonly board: Board;
  readonly graph: BlockGraph;
  readonly tree: DeviceTree;
  readonly backends = new Backends();
  readonly line: CommandLine;
  state: RunState = 'running';
  /** The machine may still be told what it is to be; few commands are taken. */
  preconfig = false;
  listener: SystemListener = { interrupt: () => {}, event: () => {} };
  /** The protocol's own clock, in ns. Devices keep theirs, which goes on by itself. */
  #clock = 0;
  #patience = SETTLE_NS;
  #watching = false;
  #inputs = 0;

  private constructor(machine: Machine, graph: BlockGraph, line: CommandLine, startSeconds: number) {
    this.machine = machine;
    this.graph = graph;
    this.line = line;
    this.board = new Board(machine, line, startSeconds, {
      reset: () => this.reset(true, 'guest-reset'),
      eject: (slot) => this.#eject(slot),
    });
    for (const object of line.objects) this.backends.add(object);
    this.tree = new DeviceTree({
      machine,
      board: this.board,
      graph,
      kind: line.machine,
      globals: line.globals,
      backends: this.backends,
      takenSlots: takenSlots(line),
    });
    if (line.incoming !== null) this.state = 'inmigrate';
    else if (line.paused || line.preconfig) this.state = 'prelaunch';
    this.preconfig = line.preconfig;
  }

  /** Makes the machine. Throws QtestError, MachineError or MediumError, which name what cannot be. */
  static async create(line: CommandLine, options: SystemOptions): Promise<System> {
    const graph = new BlockGraph({
      readText: options.readText,
      snapshot: line.snapshot,
      ideUnits: line.machine === 'q35' ? 1 : 2,
    });
    try {
      for (const blockdev of line.blockdevs) await graph.addNode(blockdev);
      for (const drive of line.drives) await graph.addDrive(drive);
      const machine = await createMachine({
        ram: ramOf(line),
        diskBytes: DEVICE_BYTES,
        guard: options.guard ?? false,
        ...(options.module === undefined ? {} : { module: options.module }),
      });
      const system = new System(machine, graph, line, options.startSeconds ?? YEAR_2000);
      await system.#addDevices();
      system.#tellFirmware();
      return system;
    } catch (error) {
      graph.close();
      throw error;
    }
  }

  async #addDevices(): Promise<void> {
    const { graph, tree, line } = this;
    if (line.machine !== 'none' && this.#wantsCdrom())
      await graph.addDrive(
        new Map([
          ['if', 'ide'],
          ['index', `${DEFAULT_CDROM_INDEX}`],
          ['media', 'cdrom'],
        ]),
      );
    for (const drive of [...graph.drives]) if (drive.interface === 'ide') tree.addDrive(drive);
    for (const device of line.devices) tree.add(device, false);
    for (const drive of [...graph.drives]) if (drive.interface === 'virtio') tree.addDrive(drive);
  }

  /** What firmware is told of the machine before it runs for the first time. */
  #tellFirmware(): void {
    const { board, tree } = this;
    const { boot } = this.line;
    const bytesFrom = (start: number): number =>
      this.machine.memory.regions.find(({ base }) => base === start)?.bytes ?? 0;
    writeSettings(board.rtc, tree, bytesFrom(0), bytesFrom(4 * GIB));
    for (const order of [boot.order, boot.once]) if (order !== null) writeBootOrder(board.rtc, order, boot);
    board.firmware.setFiles(firmwareFiles(board, tree, boot));
  }

  #wantsCdrom(): boolean {
    const { graph, line } = this;
    const isReplaced = line.devices.some((device) => REPLACES_CDROM.includes(device.get('driver') ?? ''));
    const isTaken = graph.drives.some(
      (drive) => drive.interface === 'ide' && (drive.index === DEFAULT_CDROM_INDEX || drive.isCdrom),
    );
    return line.defaults && !isReplaced && !isTaken;
  }

  get running(): boolean {
    return this.state === 'running';
  }

  // Time.

  /** Lets devices do what they have begun. Whoever speaks to the machine calls this after each command. */
  settle(): void {
    const { machine } = this;
    this.#sample();
    let due = machine.nextDeadline();
    if (due === Number.POSITIVE_INFINITY) {
      this.#heed();
      return;
    }
    const until = machine.now() + this.#patience;
    for (let events = 0; due <= until && events < SETTLE_EVENTS; events++) {
      if (machine.advance(due) === 'media') break;
      this.#sample();
      due = machine.nextDeadline();
    }
    this.#patience = due === Number.POSITIVE_INFINITY ? SETTLE_NS : SETTLE_ENDLESS_NS;
    this.#heed();
  }

  /** Whether devices still have something to do. */
  get busy(): boolean {
    return this.machine.nextDeadline() !== Number.POSITIVE_INFINITY;
  }

  get clock(): number {
    return this.#clock;
  }

  /** Lets the clock go on by `ns`, or up to the next moment at which something is due. */
  stepClock(ns: number | null): number {
    const { machine } = this;
    const { rtc } = this.board;
    const due = Math.min(machine.nextDeadline() - machine.now(), rtc.nextDeadline() - this.#clock);
    const step = ns ?? (due === Number.POSITIVE_INFINITY ? 0 : Math.max(0, due));
    this.#clock += step;
    rtc.advance(this.#clock);
    this.#sample();
    const until = machine.now() + step;
    for (let events = 0; events < SETTLE_EVENTS && machine.now() < until; events++) {
      if (machine.advance(until) === 'media') break;
      this.#sample();
    }
    return this.#clock;
  }

  /** Sets the clock, which never goes back. */
  setClock(ns: number): number {
    return this.stepClock(Math.max(0, ns - this.#clock));
  }

  // Interrupts.

  /** From now on the listener hears of the interrupt controller's inputs. */
  watchInterrupts(): void {
    this.#watching = true;
    this.#inputs = this.board.interrupts();
  }

  #sample(): void {
    if (!this.#watching) return;
    const inputs = this.board.interrupts();
    const changed = inputs ^ this.#inputs;
    if (changed === 0) return;
    this.#inputs = inputs;
    for (let input = 0; input < 24; input++) {
      if ((changed & (1 << input)) !== 0) this.listener.interrupt(input, (inputs & (1 << input)) !== 0);
    }
  }

  // Running and stopping.

  stop(state: RunState = 'paused'): void {
    if (!this.running) {
      if (this.state === 'io-error' && state === 'paused') this.state = state;
      return;
    }
    this.state = state;
    this.listener.event('STOP');
  }

  /** The machine is what it is to be, and runs unless it is to begin stopped. */
  exitPreconfig(): void {
    if (!this.preconfig) throw new QtestError('The command is permitted only before machine initialization');
    this.preconfig = false;
    if (!this.line.paused) this.resume();
  }

  /** Runs on; what was stopped for an error of a disk is tried again. */
  resume(): void {
    if (!this.running) {
      this.state = 'running';
      this.listener.event('RESUME');
    }
    this.machine.retry();
    this.settle();
  }

  reset(byGuest: boolean, reason: string): void {
    this.board.reset();
    for (const slot of this.board.unplugging) this.#eject(slot);
    const { boot } = this.line;
    writeBootOrder(this.board.rtc, boot.order, boot);
    this.board.firmware.setFiles(firmwareFiles(this.board, this.tree, boot));
    this.#sample();
    this.listener.event('RESET', { guest: byGuest, reason });
  }

  /** What disks have to say: trays that moved, requests that failed and wait. */
  #heed(): void {
    for (const notice of this.machine.takeNotices()) {
      const drive = this.graph.drives.find(({ disk }) => disk === notice.disk);
      if (drive === undefined) continue;
      if (notice.kind === 'tray') this.#trayMoved(drive, notice.open);
      else this.#parked(drive, notice);
    }
  }

  #trayMoved(drive: BlockDrive, open: boolean): void {
    this.listener.event('DEVICE_TRAY_MOVED', { device: drive.id, id: drive.device ?? '', 'tray-open': open });
  }

  #parked(drive: BlockDrive, notice: Extract<MediaNotice, { kind: 'parked' }>): void {
    const nospace = notice.reason === 'no-space';
    this.listener.event('BLOCK_IO_ERROR', {
      device: drive.id,
      ...(drive.nodeName === null ? {} : { 'node-name': drive.nodeName }),
      operation: notice.operation === 'read' || notice.operation === 'verify' ? 'read' : 'write',
      action: 'stop',
      nospace,
      reason: nospace ? 'No space left on device' : 'Input/output error',
    });
    this.stop('io-error');
  }

  // Devices.

  plug(options: Options): Device {
    const device = this.tree.add(options, true);
    this.settle();
    return device;
  }

  /** Takes a device away: one on PCI once software has let it go. Throws QtestError. */
  unplug(name: string): void {
    const device = this.tree.find(name);
    if (device === undefined) throw new QtestError(`Device '${name}' not found`, 'DeviceNotFound');
    if (!device.bus.hotplug) throw new QtestError(`Bus '${device.bus.name}' does not support hotplugging`);
    if (device.devfn >= 0) this.board.requestUnplug(device.devfn >> 3);
    else this.#remove(device);
  }

  #eject(slot: number): void {
    if (!this.board.unplugging.includes(slot)) return;
    for (const device of this.tree.devices.filter(({ devfn }) => devfn >= 0 && devfn >> 3 === slot))
      this.#remove(device);
  }

  #remove(device: Device): void {
    this.tree.remove(device);
    this.#sample();
    this.listener.event('DEVICE_DELETED', {
      ...(device.id === null ? {} : { device: device.id }),
      path: device.path,
    });
  }

  // State that the machine's snapshot does not hold.

  get hostState(): HostState {
    return { clock: this.#clock, board: this.board.state };
  }

  set hostState(state: HostState) {
    this.#clock = state.clock;
    this.board.state = state.board;
    this.#inputs = this.board.interrupts();
  }

  /** Closes the images. Throws MediumError where one cannot be written. */
  close(): void {
    if (this.state !== 'postmigrate') this.graph.close();
  }
}

export interface HostState {
  readonly clock: number;
  readonly board: BoardState;
}

function ramOf(line: CommandLine): RamRegion[] {
  const { machine, ramBytes } = line;
  if (ramBytes > RAM_MAX)
    throw new QtestError(`-m: ${ramBytes} bytes; a machine has at most ${RAM_MAX}, 3584 MiB`);
  const bytes = Math.ceil(ramBytes / PAGE) * PAGE;
  const low = bytes > LOW_RAM[machine] ? LOW_RAM_IF_MORE[machine] : bytes;
  const regions = [{ base: 0, bytes: low }];
  if (bytes > low) regions.push({ base: 4 * GIB, bytes: bytes - low });
  return regions;
}

/** Slots of cards that such machines have unless they are told otherwise: a display, a network card. */
function takenSlots({ machine, display, network }: CommandLine): readonly number[] {
  const first = machine === 'pc' ? 2 : 1;
  return [...(display ? [first] : []), ...(network ? [first + 1] : [])];
}
