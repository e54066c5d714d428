// Driver of LSI/Symbios 53C8xx SCSI chips. The chip runs a program (firmware/lsi53c895a/) that takes tasks off a ring, and
// puts those that ended on another; the driver fills the one, empties the other, and helps where the program stops.
//
// [1] LSI53C895A Technical Manual, S14028.B
// [2] SPI-2, T10/1142-D

import * as regs from '../../assembly/lsi53c895a/regs.ts';
import { OP_REQUEST_SENSE, SENSE_BYTES, STATUS_GOOD } from '../../assembly/scsi/regs.ts';
import type { PhysMem } from '../machine/phys-mem.ts';
import type { CommandStatus, Driver, DriverCommand, DriverDisk, DriverHost, DriverLimits } from './driver.ts';
import { ADDRESS_BITS, LsiChip, LsiError } from './lsi53c895a-chip.ts';
import { LsiPointer } from './lsi53c895a-pointer.ts';
import * as task from './lsi53c895a-task.ts';
import { Task } from './lsi53c895a-task.ts';
import { TargetTransfer } from './lsi53c895a-transfer.ts';
import * as scsi from './scsi.ts';
import { type Polled, scanDisk, waitReady } from './scsi-scan.ts';

export { LsiError };

/** Tasks of commands; two more are for aborts and for targets that come back with a tag that nobody gave them. */
const QUEUE_DEPTH = 62;
const ABORT_SLOT = 62;
const STRAY_SLOT = 63;
const TASKS = 64;
const TASKS_AT_ONCE = 8;
/** The rings and the tables of tags and targets are 64 words each; then the message and the bucket. */
const RING_BYTES = 256;
const AT_RING = 0;
const AT_ENDED = 256;
const AT_TAGS = 512;
const AT_TARGETS = 768;
const AT_MESSAGE = 1024;
const AT_BUCKET = 1536;
const SHARED_BYTES = 2048;
/** On the ring of tasks to start: none yet. */
const NOTHING = 1;

const COMMAND_NS = 30e9;
const ABORT_NS = 5e9;
const FAILURES_MAX = 16;
/** Rounds of one interrupt, each with all that was there. */
const INTERRUPT_ROUNDS = 256;
const SEGMENT_MAX = 0xffffff;
const DMA_FAILURES =
  regs.LSI_DSTAT_MDPE | regs.LSI_DSTAT_BF | regs.LSI_DSTAT_ABRT | regs.LSI_DSTAT_SSI | regs.LSI_DSTAT_IID;

/** Resets the chip and the bus, loads the program and looks for disks. Throws LsiError where that fails. */
export function attachLsi53c895a(host: DriverHost): Driver {
  const driver = new LsiDriver(host);
  driver.attach();
  return driver;
}

interface Found extends DriverDisk {
  readonly target: number;
  readonly queues: boolean;
}

class LsiDriver implements Driver {
  readonly name = 'lsi53c895a';
  readonly limits: DriverLimits;
  readonly disks: Found[] = [];
  readonly #host: DriverHost;
  readonly #memory: PhysMem;
  readonly #chip: LsiChip;
  readonly #pointer: LsiPointer;
  readonly #shared: number;
  /** Where the program without LOAD and STORE has the task that is on the bus, 0: where the task is. */
  readonly #window: number;
  readonly #blocks: number[] = [];
  readonly #tasks: Task[] = [];
  readonly #targets: TargetTransfer[];
  readonly #free = new Uint8Array(QUEUE_DEPTH);
  #freeCount = 0;
  /** The untagged task of each target. */
  readonly #untagged: (Task | null)[];
  #nextStart = 0;
  #nextEnded = 0;
  #posted = false;
  /** Failures since a task ended by itself. */
  #failures = 0;
  readonly #cdb = new Uint8Array(16);
  readonly #list = new Uint8Array(scsi.UNMAP_LIST_BYTES);

  constructor(host: DriverHost) {
    this.#host = host;
    this.#memory = host.memory;
    const chip = new LsiChip(host);
    this.#chip = chip;
    this.#shared = host.dma.alloc(SHARED_BYTES, 4096, ADDRESS_BITS);
    this.#pointer = new LsiPointer(chip, host.memory);
    const { wide, longAddresses, loadStore } = chip.features;
    this.#window = loadStore ? 0 : host.dma.alloc(task.TASK_BYTES, 4096, ADDRESS_BITS);
    const limits = {
      wide,
      syncFactor: chip.syncFactor,
      syncOffset: chip.syncOffset,
      clockNs: wide ? 6.25 : 25,
      plainTiming: chip.plainTiming,
    };
    this.#targets = Array.from({ length: wide ? 16 : 8 }, (_, id) => new TargetTransfer(id, limits));
    this.#untagged = new Array<Task | null>(this.#targets.length).fill(null);
    for (let i = 0; i < TASKS; i += TASKS_AT_ONCE) {
      const block = host.dma.alloc(TASKS_AT_ONCE * task.TASK_BYTES, 4096, ADDRESS_BITS);
      this.#blocks.push(block);
      for (let j = 0; j < TASKS_AT_ONCE; j++)
        this.#tasks.push(new Task(host.memory, block + j * task.TASK_BYTES, i + j));
    }
    this.limits = {
      addressBits: longAddresses ? 40 : 32,
      maxSegments: task.SEGMENTS,
      maxSegmentBytes: SEGMENT_MAX,
      boundaryMask: 0xffffffff,
      virtBoundaryMask: 0,
      alignmentMask: 0,
      maxSectors: 65535,
      queueDepth: QUEUE_DEPTH,
    };
  }

  attach(): void {
    try {
      this.#start();
      this.#scan();
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  // The way of a command.

  submit(command: DriverCommand): boolean {
    const disk = this.disks[command.disk];
    if (disk === undefined) throw new LsiError(`there is no disk ${command.disk}`);
    return this.#submitTo(disk.target, disk.queues, command);
  }

  kick(): void {
    if (!this.#posted) return;
    this.#posted = false;
    this.#chip.write8(regs.LSI_ISTAT0, regs.LSI_ISTAT0_SIGP);
  }

  interrupt(): boolean {
    let handled = false;
    for (let round = 0; round < INTERRUPT_ROUNDS; round++) {
      const status = this.#chip.read8(regs.LSI_ISTAT0);
      const causes = regs.LSI_ISTAT0_INTF | regs.LSI_ISTAT0_SIP | regs.LSI_ISTAT0_DIP;
      if ((status & causes) === 0) break;
      handled = true;
      if ((status & regs.LSI_ISTAT0_INTF) !== 0) {
        // First the flag, then the ring: what comes in between raises the line again.
        this.#chip.write8(regs.LSI_ISTAT0, (status & regs.LSI_ISTAT0_SIGP) | regs.LSI_ISTAT0_INTF);
      }
      this.#takeEnded();
      if ((status & (regs.LSI_ISTAT0_SIP | regs.LSI_ISTAT0_DIP)) !== 0) this.#takeStop(status);
    }
    return handled;
  }

  /** [2] 10.5: a target is told by a nexus of its own, ABORT TAG or ABORT; one that does not listen is reset. */
  abort(command: DriverCommand): void {
    const open = this.#tasks.find((candidate) => candidate.command === command);
    if (open === undefined) return;
    this.kick();
    this.interrupt();
    if (open.command !== command) return;
    const abort = this.#tasks[ABORT_SLOT] as Task;
    // An abort out of the done() of another one: there is but one task for them.
    if (abort.use !== 'free') {
      this.reset();
      return;
    }
    abort.use = 'abort';
    abort.tagged = false;
    this.#aim(abort, open.target);
    const message = open.tagged ? [regs.MSG_SIMPLE_TAG, open.tag, regs.MSG_ABORT_TAG] : [regs.MSG_ABORT];
    abort.setMessage(true, message);
    this.#post(abort);
    this.kick();
    const isOver = (): boolean => {
      this.interrupt();
      return abort.use === 'free';
    };
    if (!this.#host.waitUntil(isOver, ABORT_NS)) this.reset();
    else if (open.command === command) this.#finish(open, 'aborted');
  }

  reset(): void {
    this.#start();
    this.#endAll();
    for (const disk of this.disks) waitReady((ask) => this.#poll(disk.target, ask));
  }

  detach(): void {
    this.#chip.resetBus();
    this.#chip.resetChip();
    this.#endAll();
    this.#release();
  }

  #release(): void {
    this.#chip.free();
    for (const block of this.#blocks) this.#host.dma.free(block, TASKS_AT_ONCE * task.TASK_BYTES);
    if (this.#window !== 0) this.#host.dma.free(this.#window, task.TASK_BYTES);
    this.#host.dma.free(this.#shared, SHARED_BYTES);
  }

  #submitTo(target: number, tagged: boolean, command: DriverCommand): boolean {
    if (this.#freeCount === 0 || (!tagged && this.#untagged[target] !== null)) return false;
    const made = this.#tasks[this.#free[--this.#freeCount] as number] as Task;
    made.use = 'command';
    made.command = command;
    made.tagged = tagged;
    this.#aim(made, target);
    const length = this.#buildCdb(command);
    made.setCdb(command.op === 'scsi' ? command.cdb : this.#cdb, length);
    this.#setData(made, command);
    const transfer = this.#targets[target] as TargetTransfer;
    made.negotiates = transfer.next;
    // With a half word in the chip a target that leaves cannot be resumed.
    const odd = made.writes && transfer.wide && (made.bytes & 1) !== 0;
    made.setMessage(!odd, made.negotiates === null ? [] : transfer.request(made.negotiates));
    this.#post(made);
    return true;
  }

  /** Whom a task is for, and how it is found when that comes back. */
  #aim(made: Task, target: number): void {
    const { transfer, timing } = this.#targets[target] as TargetTransfer;
    made.setTarget(target, transfer, timing);
    if (made.use === 'abort') return;
    if (made.tagged) this.#memory.write32(this.#shared + AT_TAGS + made.tag, made.address);
    else {
      this.#untagged[target] = made;
      this.#memory.write32(this.#shared + AT_TARGETS + 4 * target, made.address);
    }
  }

  #setData(made: Task, command: DriverCommand): void {
    const { segments } = command;
    const moves = command.op !== 'flush' && segments.count > 0;
    made.bytes = 0;
    made.writes = command.op === 'discard' || isWrite(command);
    let count = 0;
    if (command.op === 'discard') {
      const at = made.address + task.AT_PARAMETERS;
      this.#memory.writeBytes(at, this.#list);
      made.setPiece(at, scsi.UNMAP_LIST_BYTES);
      count = 1;
    } else if (moves) {
      made.setList(segments);
      count = segments.count;
    }
    this.#pointer.begin(made, count);
  }

  #buildCdb(command: DriverCommand): number {
    switch (command.op) {
      case 'read':
        return scsi.buildTransfer(this.#cdb, false, command.lba, command.sectors, command.fua);
      case 'write':
        return scsi.buildTransfer(this.#cdb, true, command.lba, command.sectors, command.fua);
      case 'flush':
        return scsi.buildFlush(this.#cdb);
      case 'discard':
        scsi.fillUnmapList(this.#list, command.lba, command.sectors);
        return scsi.buildUnmap(this.#cdb);
      case 'scsi':
        return command.cdbLength;
    }
  }

  /** Puts a task on the ring. The entry behind it says that there is no more, before there is this one. */
  #post(made: Task): void {
    made.place = this.#nextStart;
    const next = (this.#nextStart + 4) % RING_BYTES;
    this.#memory.write32(this.#shared + AT_RING + next, NOTHING);
    this.#memory.write32(this.#shared + AT_RING + this.#nextStart, made.address);
    this.#nextStart = next;
    this.#posted = true;
  }

  /** Takes what ended off its ring, in the order in which it did. */
  #takeEnded(): void {
    for (let i = 0; i < TASKS; i++) {
      const at = this.#shared + AT_ENDED + this.#nextEnded;
      const own = this.#memory.read32(at);
      if (own === 0) return;
      this.#memory.write32(at, 0);
      this.#nextEnded = (this.#nextEnded + 4) % RING_BYTES;
      const made = this.#tasks[own - 1];
      if (made !== undefined) this.#ended(made, made.address);
    }
  }

  /** A task has its status. `block`: where its fields are. */
  #ended(made: Task, block: number): void {
    const { command, use } = made;
    if (command === null) {
      made.use = 'free';
      return;
    }
    const good = made.status === STATUS_GOOD;
    this.#failures = 0;
    if (use === 'sense') {
      if (good) made.copySense(command.sense);
      command.senseLength = good ? SENSE_BYTES : 0;
      this.#finish(made, 'check-condition');
      return;
    }
    command.senseLength = 0;
    const residue = this.#memory.read8(block + task.T_RESIDUE);
    const taken = residue & task.RESIDUE_BYTES;
    command.residual = this.#pointer.left(made, block) + (made.writes ? 0 : taken);
    const failed = use === 'abandoned' || (residue & task.RESIDUE_OVERRUN) !== 0;
    this.#finish(made, failed ? 'transport-error' : good ? 'ok' : 'busy');
  }

  /** Frees a task, and reports its command. */
  #finish(made: Task, status: CommandStatus): void {
    const { command } = made;
    this.#vacate(made);
    if (command === null) return;
    command.status = status;
    command.done(command);
  }

  #vacate(made: Task): void {
    const stray = this.#tasks[STRAY_SLOT] as Task;
    made.use = 'free';
    made.command = null;
    if (made.slot >= QUEUE_DEPTH) return;
    if (made.tagged) this.#memory.write32(this.#shared + AT_TAGS + made.tag, stray.address);
    else {
      this.#untagged[made.target] = null;
      this.#memory.write32(this.#shared + AT_TARGETS + 4 * made.target, stray.address);
    }
    this.#free[this.#freeCount++] = made.slot;
  }

  /** A reset: targets and chip have forgotten every task. */
  #endAll(): void {
    for (const made of this.#tasks) {
      const { command } = made;
      if (made.use === 'free') continue;
      if (command !== null) {
        command.residual = made.bytes;
        command.senseLength = 0;
      }
      this.#finish(made, 'aborted');
    }
  }

  // Where the program stops.

  #takeStop(status: number): void {
    const chip = this.#chip;
    const bus = (status & regs.LSI_ISTAT0_SIP) !== 0;
    const sist0 = bus ? chip.read8(regs.LSI_SIST0) : 0;
    const sist1 = bus ? chip.read8(regs.LSI_SIST1) : 0;
    const dstat = (status & regs.LSI_ISTAT0_DIP) !== 0 ? chip.read8(regs.LSI_DSTAT) : 0;
    const made = this.#current();
    const failed = (sist0 & (regs.LSI_SIST0_SGE | regs.LSI_SIST0_PAR)) !== 0;
    if ((sist0 & regs.LSI_SIST0_RST) !== 0) this.#lostBus();
    else if ((sist0 & regs.LSI_SIST0_UDC) !== 0) this.#lostTarget(made, 'device-error');
    else if ((sist1 & regs.LSI_SIST1_STO) !== 0) this.#lostTarget(made, 'no-device');
    else if (failed || (dstat & DMA_FAILURES) !== 0) this.#abandon(made);
    else if ((sist0 & regs.LSI_SIST0_MA) !== 0) {
      if (!this.#pointer.cutShort(made, this.#block)) this.#abandon(made);
    } else if ((dstat & regs.LSI_DSTAT_SIR) !== 0) this.#serve(chip.read32(regs.LSI_DSPS), made);
  }

  /** The task on the bus: DSA points to it, or to its copy. */
  #current(): Task | undefined {
    const block = this.#block;
    const known = block === this.#window || this.#tasks.some(({ address }) => address === block);
    return known ? this.#tasks[this.#memory.read32(block + task.T_OWN) - 1] : undefined;
  }

  /** Where the fields of the task on the bus are. */
  get #block(): number {
    return this.#chip.read32(regs.LSI_DSA);
  }

  /** The bus is free: on with the next task on the ring. */
  #goOn(): void {
    this.#chip.write8(regs.LSI_SCRATCHB + 2, 0);
    this.#chip.run('next');
  }

  /** Somebody else has reset the bus. */
  #lostBus(): void {
    this.#start();
    this.#endAll();
  }

  /** The nexus is gone: as the driver wanted it, or not. */
  #lostTarget(made: Task | undefined, status: CommandStatus): void {
    this.#goOn();
    if (made === undefined) return;
    const { command } = made;
    if (command === null) made.use = 'free';
    else {
      command.residual = made.bytes;
      command.senseLength = 0;
      this.#finish(made, made.use === 'abandoned' ? 'transport-error' : status);
    }
  }

  /** The transfer failed: the target is told to forget the command, and then leaves the bus. */
  #abandon(made: Task | undefined): void {
    const connected = (this.#chip.read8(regs.LSI_ISTAT0) & regs.LSI_ISTAT0_CON) !== 0;
    // A program that fails again and again stays where it is, until somebody resets the chip.
    if (++this.#failures > FAILURES_MAX) return;
    if (!connected) this.#lostTarget(made, 'transport-error');
    else if (made === undefined || made.use === 'abandoned') this.#lostBus();
    else {
      made.use = 'abandoned';
      this.#reply(made, [made.tagged ? regs.MSG_ABORT_TAG : regs.MSG_ABORT]);
      this.#pointer.giveUp();
      this.#chip.run('answer');
    }
  }

  /** What the target hears when it asks for a message next. */
  #reply(made: Task, bytes: readonly number[]): void {
    made.setReply(bytes);
    this.#memory.write32(this.#block + task.T_REPLY, bytes.length);
  }

  /** The program asks for help. */
  #serve(why: number, made: Task | undefined): void {
    const block = this.#block;
    if (made === undefined) this.#abandon(made);
    else if (why === task.INT_NEGOTIATION) this.#negotiate(made);
    else if (why === task.INT_REJECTED) this.#rejected(made);
    else if (why === task.INT_CHECK) this.#askSense(made, block);
    else if (why === task.INT_FLUSHED) this.#pointer.flushed(block);
    else if (why !== task.INT_ODD || !this.#pointer.oddByte(made, block)) this.#abandon(made);
  }

  #negotiate(made: Task): void {
    const bytes = this.#memory.readBytes(this.#shared + AT_MESSAGE, 8);
    const { label, reply } = this.#transferOf(made).hear(bytes, made.negotiates);
    made.negotiates = null;
    if (reply !== undefined) this.#reply(made, reply);
    this.#agree(made, label);
  }

  #rejected(made: Task): void {
    if (made.negotiates !== null) this.#transferOf(made).refused(made.negotiates);
    made.negotiates = null;
    this.#agree(made, 'accept');
  }

  /** Gives the chip what is agreed with the target, and all tasks that may come back from it. */
  #agree(made: Task, label: 'accept' | 'answer' | 'refuse'): void {
    const { transfer, timing } = this.#transferOf(made);
    this.#chip.write8(regs.LSI_SCNTL3, timing);
    this.#chip.write8(regs.LSI_SXFER, transfer);
    for (const open of this.#tasks)
      if (open.use !== 'free' && open.target === made.target) open.setTarget(made.target, transfer, timing);
    if (this.#window !== 0) {
      const select = this.#memory.read32(made.address + task.T_SELECT);
      this.#memory.write32(this.#window + task.T_SELECT, select);
    }
    this.#chip.run(label);
  }

  #transferOf(made: Task): TargetTransfer {
    return this.#targets[made.target] as TargetTransfer;
  }

  /** CHECK CONDITION: the same task, with REQUEST SENSE, before anything else goes to the target. */
  #askSense(made: Task, block: number): void {
    const { command, use } = made;
    if (command === null || use !== 'command') {
      this.#goOn();
      this.#ended(made, block);
      return;
    }
    command.residual = this.#pointer.left(made, block);
    made.use = 'sense';
    this.#cdb.fill(0);
    this.#cdb[0] = OP_REQUEST_SENSE;
    this.#cdb[4] = SENSE_BYTES;
    made.setCdb(this.#cdb, 6);
    made.setPiece(made.address + task.AT_SENSE, SENSE_BYTES);
    made.writes = false;
    this.#pointer.begin(made, 1);
    this.#aim(made, made.target);
    made.negotiates = null;
    made.setMessage(true, []);
    // In front of what waits on the ring: the place before it was this or another task's, which has started.
    const place = (this.#chip.read8(regs.LSI_SCRATCHB) + RING_BYTES - 4) % RING_BYTES;
    made.place = place;
    this.#memory.write32(this.#shared + AT_RING + place, made.address);
    this.#chip.write8(regs.LSI_SCRATCHB, place);
    this.#goOn();
  }

  // Setting up.

  /** Resets chip and bus, loads the program, and starts it with nothing to do. */
  #start(): void {
    const shared = this.#shared;
    const chip = this.#chip;
    chip.resetBus();
    chip.resetChip();
    for (const target of this.#targets) target.forget();
    this.#memory.fill(shared, 0, AT_MESSAGE);
    this.#memory.write32(shared + AT_RING, NOTHING);
    const stray = this.#tasks[STRAY_SLOT] as Task;
    for (let i = 0; i < RING_BYTES; i += 4) {
      this.#memory.write32(shared + AT_TAGS + i, stray.address);
      this.#memory.write32(shared + AT_TARGETS + i, stray.address);
    }
    this.#nextStart = 0;
    this.#nextEnded = 0;
    this.#posted = false;
    this.#failures = 0;
    chip.load({
      ring: shared + AT_RING,
      ended: shared + AT_ENDED,
      tags: shared + AT_TAGS,
      targets: shared + AT_TARGETS,
      message: shared + AT_MESSAGE,
      bucket: shared + AT_BUCKET,
      window: this.#window,
    });
    this.#pointer.bind();
    this.#pointer.begin(stray, 0);
    chip.setUp();
    chip.run('next');
  }

  #scan(): void {
    this.#freeCount = 0;
    for (let slot = QUEUE_DEPTH - 1; slot >= 0; slot--) this.#free[this.#freeCount++] = slot;
    const buffer = this.#host.dma.alloc(scsi.SCAN_BYTES, 4, ADDRESS_BITS);
    try {
      for (const { id } of this.#targets) {
        if (id === regs.LSI_HOST_ID) continue;
        const disk = scanDisk(this.#memory, buffer, (ask) => this.#poll(id, ask));
        if (disk !== undefined) this.disks.push({ ...disk, target: id });
      }
    } finally {
      this.#host.dma.free(buffer, scsi.SCAN_BYTES);
    }
  }

  /** Runs one command to its end without an interrupt handler; whether it went well. */
  #poll(target: number, ask: Polled): boolean {
    if (!this.#submitTo(target, false, ask)) return false;
    this.kick();
    const isOver = (): boolean => {
      this.interrupt();
      return ask.over;
    };
    if (!this.#host.waitUntil(isOver, COMMAND_NS)) throw new LsiError(`target ${target} does not answer`);
    return ask.status === 'ok';
  }
}

function isWrite(command: DriverCommand): boolean {
  return command.op === 'write' || (command.op === 'scsi' && command.direction === 'write');
}
