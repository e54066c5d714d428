// One port of an AHCI controller, with the disk behind it: its command list, what is with the hardware, and how it
// recovers from errors. References are those of ahci.ts.
//
// A command is built in a slot at once, and waits in a queue until the port may issue it: queued (NCQ) commands and
// the others never mix in the device ([2] 13.6.2).

import {
  AHCI_CMD_CCS_SHIFT,
  AHCI_CMD_FRE,
  AHCI_CMD_POD,
  AHCI_CMD_SUD,
  AHCI_HEADER_BYTES,
  AHCI_HEADER_PRDBC,
  AHCI_HEADER_WRITE,
  AHCI_IS_DHRS,
  AHCI_IS_HBDS,
  AHCI_IS_HBFS,
  AHCI_IS_IFS,
  AHCI_IS_OFS,
  AHCI_IS_PCS,
  AHCI_IS_PRCS,
  AHCI_IS_PSS,
  AHCI_IS_SDBS,
  AHCI_IS_TFES,
  AHCI_IS_UFS,
  AHCI_PRD_BYTES,
  AHCI_PX_CI,
  AHCI_PX_CLB,
  AHCI_PX_CLBU,
  AHCI_PX_CMD,
  AHCI_PX_FB,
  AHCI_PX_FBU,
  AHCI_PX_IE,
  AHCI_PX_IS,
  AHCI_PX_SACT,
  AHCI_PX_SERR,
  AHCI_PX_SIG,
  AHCI_PX_TFD,
  AHCI_RFIS_BYTES,
  AHCI_RFIS_REGISTER,
  AHCI_SIG_ATA,
  AHCI_TABLE_PRDT,
  FIS_COMMAND,
  FIS_REGISTER_H2D,
} from '../../assembly/ahci/regs.ts';
import {
  ATA_IDENTIFY,
  ATA_LOG_QUEUE_ERROR,
  ATA_READ_LOG_EXT,
  ATA_STATUS_BSY,
  ATA_STATUS_DRQ,
  ATA_STATUS_ERR,
} from '../../assembly/ata/regs.ts';
import { ASC_INVALID_CDB_FIELD, KEY_ILLEGAL_REQUEST } from '../../assembly/scsi/regs.ts';
import type { PhysMem } from '../machine/phys-mem.ts';
import { AhciLink, LINK_NS } from './ahci-link.ts';
import {
  type AtaDisk,
  type AtaFailure,
  failCommand,
  fillRanges,
  parseIdentify,
  readFailure,
  setSense,
  TaskFile,
  TRIM_SECTORS,
  transferBytes,
} from './ata.ts';
import type { CommandStatus, DriverCommand, DriverHost } from './driver.ts';
import { ANSWER_BYTES, deliver, translate } from './sat.ts';

/** Descriptors of one command: with them a command table is a multiple of its alignment, 2816 bytes. */
export const SEGMENTS = 168;
const TABLE_BYTES = AHCI_TABLE_PRDT + SEGMENTS * AHCI_PRD_BYTES;
/** Command list, received frames. */
const LIST_BYTES = 1024;
const LIST_ALIGN = 1024;
const FRAMES_ALIGN = 256;
/** A page: IDENTIFY data and logs in its second half, ranges of DATA SET MANAGEMENT in the first block. */
const PAGE_BYTES = 4096;
const RANGES_AT = 0;
const BLOCK_AT = 2048;

const INTERRUPTS =
  AHCI_IS_DHRS |
  AHCI_IS_PSS |
  AHCI_IS_SDBS |
  AHCI_IS_UFS |
  AHCI_IS_PCS |
  AHCI_IS_PRCS |
  AHCI_IS_OFS |
  AHCI_IS_IFS |
  AHCI_IS_HBDS |
  AHCI_IS_HBFS |
  AHCI_IS_TFES;
/** After these the link itself has to be reset. */
const FATAL =
  AHCI_IS_HBFS | AHCI_IS_HBDS | AHCI_IS_IFS | AHCI_IS_UFS | AHCI_IS_PCS | AHCI_IS_PRCS | AHCI_IS_OFS;
const ERRORS = FATAL | AHCI_IS_TFES;

/** A command may take this long. */
const COMMAND_NS = 30e9;

const PLAIN = 0;
const QUEUED = 1;
/** The driver answers; the disk only shows that it is alive. */
const ANSWERED = 2;

const SLOT_MAX = 32;
/** The slot that carries the driver's own commands while nothing else runs; its table is the one behind all. */
const OWN_SLOT = 0;

export class AhciPort {
  readonly number: number;
  disk: AtaDisk | null = null;
  readonly #host: DriverHost;
  readonly #link: AhciLink;
  readonly #memory: PhysMem;
  readonly #slots: number;
  readonly #addressBits: number;
  readonly #list: number;
  readonly #frames: number;
  #tables = 0;
  #page = 0;
  #queues = false;

  readonly #commands: (DriverCommand | null)[] = new Array(SLOT_MAX).fill(null);
  readonly #kinds = new Uint8Array(SLOT_MAX);
  /** First dword of each slot's header, and bytes of its transfer. */
  readonly #headers = new Uint32Array(SLOT_MAX);
  readonly #bytes = new Float64Array(SLOT_MAX);
  /** Slots that are free, and those that are with the hardware. */
  #free = 0;
  #active = 0;
  #activeKind = PLAIN;
  /** Slots that wait to be issued, a ring. */
  readonly #waiting = new Uint8Array(SLOT_MAX);
  #first = 0;
  #count = 0;
  /** After an error that any of several commands may have caused, so many are issued one by one. */
  #singly = 0;
  /** The slot that holds the one block of ranges, −1: none does. */
  #trimSlot = -1;
  #recovering = false;
  /** The disk does not answer any more. */
  #gone = false;
  readonly #task = new TaskFile();
  readonly #failure: AtaFailure = { status: 0, error: 0, lba: 0 };
  readonly #answer = new Uint8Array(ANSWER_BYTES);

  constructor(host: DriverHost, bar: number, number: number, slots: number, addressBits: number) {
    this.#host = host;
    this.#link = new AhciLink(host, bar, number);
    this.#memory = host.memory;
    this.number = number;
    this.#slots = slots;
    this.#addressBits = addressBits;
    this.#list = host.dma.alloc(LIST_BYTES, LIST_ALIGN, addressBits);
    this.#frames = host.dma.alloc(AHCI_RFIS_BYTES, FRAMES_ALIGN, addressBits);
  }

  // The way of a command.

  /** Builds a command in a free slot; false when there is none, or a second discard would need the block. */
  submit(command: DriverCommand): boolean {
    const free = this.#free;
    if (free === 0) return false;
    if (command.op === 'discard' && this.#trimSlot >= 0) return false;
    const slot = 31 - Math.clz32(free & -free);
    const table = this.#tables + slot * TABLE_BYTES;
    command.senseLength = 0;
    command.residual = 0;
    const kind = this.#plan(command, slot);
    const task = this.#task;
    let count = 0;
    if (command.op === 'discard') count = this.#writeBlock(table, this.#page + RANGES_AT, 512);
    else if (task.bytes > 0) count = this.#writeSegments(table, command);
    this.#writeTask(table, task, kind === QUEUED ? slot << 3 : task.count);
    const header = 5 | (task.writes ? AHCI_HEADER_WRITE : 0) | (count << 16);
    this.#commands[slot] = command;
    this.#kinds[slot] = kind;
    this.#bytes[slot] = task.bytes;
    this.#headers[slot] = header;
    this.#memory.write32(this.#list + slot * AHCI_HEADER_BYTES, header);
    this.#free = free & ~(1 << slot);
    this.#waiting[(this.#first + this.#count) % SLOT_MAX] = slot;
    this.#count++;
    return true;
  }

  /** Issues what waits, as far as it may go together: one write to PxSACT and one to PxCI. */
  kick(): void {
    if (this.#count === 0 || this.#recovering) return;
    if (this.#gone) {
      this.endAll('no-device');
      return;
    }
    let bits = 0;
    while (this.#count > 0) {
      const slot = this.#waiting[this.#first] as number;
      const kind = this.#kinds[slot] === QUEUED ? QUEUED : PLAIN;
      if ((this.#active | bits) !== 0 && (kind !== this.#activeKind || this.#singly > 0)) break;
      this.#activeKind = kind;
      this.#first = (this.#first + 1) % SLOT_MAX;
      this.#count--;
      bits |= 1 << slot;
      if (kind === PLAIN) this.#memory.write32(this.#list + slot * AHCI_HEADER_BYTES + AHCI_HEADER_PRDBC, 0);
    }
    if (bits === 0) return;
    this.#active |= bits;
    if (this.#activeKind === QUEUED) this.#link.write(AHCI_PX_SACT, bits);
    this.#link.write(AHCI_PX_CI, bits);
  }

  interrupt(): void {
    // Waiting in #recover() lets other ports' interrupts in.
    if (this.#recovering) return;
    const status = this.#link.read(AHCI_PX_IS);
    this.#link.write(AHCI_PX_IS, status);
    this.#reap();
    if ((status & ERRORS) !== 0) this.#recover(status);
    this.kick();
  }

  /** Gives up one command; the others that were with the disk are issued again. */
  abort(command: DriverCommand): boolean {
    const slot = this.#commands.indexOf(command);
    if (slot < 0) return false;
    if ((this.#active & (1 << slot)) !== 0) {
      this.#reap();
      if (this.#commands[slot] !== command) return true;
      this.#recovering = true;
      this.#link.write(AHCI_PX_IE, 0);
      this.#gone = !this.#link.reset();
      this.#requeue(this.#active & ~(1 << slot));
      this.#active = 0;
      this.#recovering = false;
      this.#link.write(AHCI_PX_IE, INTERRUPTS);
      this.#end(slot, 'aborted');
    } else {
      this.#unqueue(slot);
      this.#end(slot, 'aborted');
    }
    this.kick();
    return true;
  }

  /** Ends every command; the hardware has none of them any more. */
  endAll(status: CommandStatus): void {
    this.#active = 0;
    this.#count = 0;
    this.#singly = 0;
    for (let slot = 0; slot < SLOT_MAX; slot++) if (this.#commands[slot] !== null) this.#end(slot, status);
  }

  /** Decides what the disk is asked for; the slot's kind. */
  #plan(command: DriverCommand, slot: number): number {
    const disk = this.disk as AtaDisk;
    const task = this.#task;
    switch (command.op) {
      case 'read':
      case 'write': {
        const writes = command.op === 'write';
        task.transfer(disk, this.#queues, writes, command.lba, command.sectors, command.fua);
        break;
      }
      case 'flush':
        task.flush();
        break;
      case 'discard':
        if (!disk.trim || command.sectors > TRIM_SECTORS) {
          setSense(command, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
          task.nothing();
          return ANSWERED;
        }
        fillRanges(this.#memory, this.#page + RANGES_AT, command.lba, command.sectors);
        task.trim();
        this.#trimSlot = slot;
        break;
      case 'scsi':
        if (!translate(command, disk, this.#queues, task)) return ANSWERED;
        if (task.bytes > transferBytes(command)) {
          setSense(command, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
          task.nothing();
          return ANSWERED;
        }
        break;
    }
    return task.queued ? QUEUED : PLAIN;
  }

  /** The Register FIS, [2] 10.3.4; the rest of the table's frame is zero since it was allocated. */
  #writeTask(table: number, task: TaskFile, count: number): void {
    const { lba, feature } = task;
    this.#memory.write4x32(
      table,
      FIS_REGISTER_H2D | (FIS_COMMAND << 8) | (task.command << 16) | ((feature & 0xff) << 24),
      (lba & 0xffffff) | (task.device << 24),
      (lba / 0x1000000) | ((feature >>> 8) << 24),
      count,
    );
  }

  #writeSegments(table: number, command: DriverCommand): number {
    const { count, addresses, lengths } = command.segments;
    for (let i = 0; i < count; i++) this.#writePrd(table, i, addresses[i] as number, lengths[i] as number);
    return count;
  }

  #writeBlock(table: number, address: number, bytes: number): number {
    this.#writePrd(table, 0, address, bytes);
    return 1;
  }

  /** Entry `i` of the table's descriptors, [1] 4.2.3.3. */
  #writePrd(table: number, i: number, address: number, bytes: number): void {
    const at = table + AHCI_TABLE_PRDT + i * AHCI_PRD_BYTES;
    // Signed halves: what passes 2^31 unsigned would need an object of its own.
    this.#memory.write4x32(at, address | 0, (address / 4294967296) | 0, 0, bytes - 1);
  }

  /** Ends what the hardware is through with. */
  #reap(): void {
    const active = this.#active;
    if (active === 0) return;
    const open = this.#link.read(this.#activeKind === QUEUED ? AHCI_PX_SACT : AHCI_PX_CI);
    let done = active & ~open;
    this.#active = active & open;
    while (done !== 0) {
      const slot = 31 - Math.clz32(done & -done);
      done &= done - 1;
      this.#complete(slot);
    }
  }

  #complete(slot: number): void {
    const command = this.#commands[slot] as DriverCommand;
    const kind = this.#kinds[slot] as number;
    if (this.#singly > 0) this.#singly--;
    if (kind === ANSWERED) deliver(command, this.disk as AtaDisk, this.#memory, this.#answer);
    else {
      command.status = 'ok';
      const bytes = this.#bytes[slot] as number;
      if (kind === PLAIN && bytes > 0 && command.op !== 'discard') {
        command.residual =
          bytes - this.#memory.read32(this.#list + slot * AHCI_HEADER_BYTES + AHCI_HEADER_PRDBC);
      }
    }
    this.#vacate(slot);
    command.done(command);
  }

  #end(slot: number, status: CommandStatus): void {
    const command = this.#commands[slot] as DriverCommand;
    command.status = status;
    command.senseLength = 0;
    command.residual = transferBytes(command);
    this.#vacate(slot);
    command.done(command);
  }

  #vacate(slot: number): void {
    this.#commands[slot] = null;
    this.#free |= 1 << slot;
    if (this.#trimSlot === slot) this.#trimSlot = -1;
  }

  // Errors, [1] 6.2.2.

  /** Finds out what failed, gets the port going again, and has the others issued again. */
  #recover(status: number): void {
    this.#recovering = true;
    this.#link.write(AHCI_PX_IE, 0);
    const lost = this.#active;
    const current = (this.#link.read(AHCI_PX_CMD) >>> AHCI_CMD_CCS_SHIFT) & 31;
    let culprit = -1;
    let alive = true;
    if ((status & FATAL) !== 0) {
      if ((lost & (lost - 1)) === 0 && lost !== 0) culprit = 31 - Math.clz32(lost);
      alive = this.#link.reset();
    } else {
      culprit = this.#activeKind === QUEUED ? -1 : current;
      readFailure(this.#memory, this.#frames + AHCI_RFIS_REGISTER, this.#failure);
      const stopped = this.#link.stop();
      const busy = (this.#link.read(AHCI_PX_TFD) & (ATA_STATUS_BSY | ATA_STATUS_DRQ)) !== 0;
      if (stopped && !busy) this.#link.start();
      else alive = this.#link.reset();
      if (this.#activeKind === QUEUED && alive) culprit = this.#askLog();
    }
    this.#active = 0;
    this.#recovering = false;
    if (!alive) {
      this.#gone = true;
      this.endAll('no-device');
      return;
    }
    this.#link.write(AHCI_PX_IE, INTERRUPTS);
    const others = culprit >= 0 ? lost & ~(1 << culprit) : lost;
    this.#requeue(others);
    if (culprit < 0) this.#singly = bitCount(others);
    else if ((lost & (1 << culprit)) !== 0) this.#blame(culprit, status);
  }

  #blame(slot: number, status: number): void {
    if (this.#singly > 0) this.#singly--;
    if ((status & FATAL) !== 0) {
      this.#end(slot, 'transport-error');
      return;
    }
    const command = this.#commands[slot] as DriverCommand;
    failCommand(command, this.disk as AtaDisk, this.#failure);
    this.#vacate(slot);
    command.done(command);
  }

  /** READ LOG EXT for the queue error log: the tag that failed, −1 where the log does not say. */
  #askLog(): number {
    this.#task.readBlock(ATA_READ_LOG_EXT, ATA_LOG_QUEUE_ERROR, 1);
    if (!this.#execute()) return -1;
    const tag = this.#memory.read8(this.#page + BLOCK_AT);
    if ((tag & 0x80) !== 0) return -1;
    readFailure(this.#memory, this.#page + BLOCK_AT, this.#failure);
    return tag & 31;
  }

  /** Puts slots back in front of those that wait, in order. */
  #requeue(slots: number): void {
    for (let slot = SLOT_MAX - 1; slot >= 0; slot--) {
      if ((slots & (1 << slot)) === 0) continue;
      this.#first = (this.#first + SLOT_MAX - 1) % SLOT_MAX;
      this.#waiting[this.#first] = slot;
      this.#count++;
    }
  }

  #unqueue(slot: number): void {
    const count = this.#count;
    this.#count = 0;
    for (let i = 0; i < count; i++) {
      const other = this.#waiting[(this.#first + i) % SLOT_MAX] as number;
      if (other !== slot) this.#waiting[(this.#first + this.#count++) % SLOT_MAX] = other;
    }
  }

  /** Runs the command in the task file through the own table, into the block, without interrupts. */
  #execute(): boolean {
    const table = this.#tables + this.#slots * TABLE_BYTES;
    const header = this.#list + OWN_SLOT * AHCI_HEADER_BYTES;
    this.#writeTask(table, this.#task, this.#task.count);
    const count = this.#task.bytes > 0 ? this.#writeBlock(table, this.#page + BLOCK_AT, this.#task.bytes) : 0;
    this.#writeHeader(OWN_SLOT, 5 | (count << 16), table);
    this.#memory.write32(header + AHCI_HEADER_PRDBC, 0);
    this.#link.write(AHCI_PX_CI, 1 << OWN_SLOT);
    const isOver = (): boolean =>
      (this.#link.read(AHCI_PX_CI) & (1 << OWN_SLOT)) === 0 || (this.#link.read(AHCI_PX_IS) & ERRORS) !== 0;
    const over = this.#host.waitUntil(isOver, COMMAND_NS);
    const failed =
      (this.#link.read(AHCI_PX_TFD) & ATA_STATUS_ERR) !== 0 || (this.#link.read(AHCI_PX_IS) & ERRORS) !== 0;
    this.#writeHeader(OWN_SLOT, this.#headers[OWN_SLOT] as number, this.#tables + OWN_SLOT * TABLE_BYTES);
    if (!over || failed) this.#link.reset();
    this.#link.write(AHCI_PX_IS, 0xffffffff);
    return over && !failed;
  }

  #writeHeader(slot: number, flags: number, table: number): void {
    const at = this.#list + slot * AHCI_HEADER_BYTES;
    this.#memory.write32(at, flags);
    this.#memory.write32(at + 8, table >>> 0);
    this.#memory.write32(at + 12, (table / 4294967296) >>> 0);
  }

  // Setting up.

  /** Tells the port where its structures are and lets the disk spin up; the caller waits for the link. */
  prepare(): void {
    this.#link.stop();
    this.#link.stopFrames();
    this.#link.write(AHCI_PX_CLB, this.#list >>> 0);
    this.#link.write(AHCI_PX_CLBU, (this.#list / 4294967296) >>> 0);
    this.#link.write(AHCI_PX_FB, this.#frames >>> 0);
    this.#link.write(AHCI_PX_FBU, (this.#frames / 4294967296) >>> 0);
    this.#link.write(AHCI_PX_IE, 0);
    this.#link.write(AHCI_PX_CMD, this.#link.read(AHCI_PX_CMD) | AHCI_CMD_FRE | AHCI_CMD_SUD | AHCI_CMD_POD);
  }

  /** Whether the link is up. */
  get linked(): boolean {
    return this.#link.up;
  }

  /** Identifies the disk at the port, if one is there. */
  probe(): void {
    if (!this.linked || !this.#link.waitReady() || this.#link.read(AHCI_PX_SIG) !== AHCI_SIG_ATA) return;
    this.#allocate();
    this.#link.start();
    this.#task.readBlock(ATA_IDENTIFY);
    if (!this.#execute()) return;
    const disk = parseIdentify(this.#memory.readBytes(this.#page + BLOCK_AT, 512));
    if (disk === null) return;
    this.disk = disk;
  }

  /** Opens the slots: as many as disk and HBA both take. */
  open(hbaQueues: boolean): void {
    const disk = this.disk as AtaDisk;
    this.#queues = hbaQueues && disk.queueDepth > 0 && this.#slots > 1;
    const depth = this.#queues ? Math.min(this.#slots, disk.queueDepth) : this.#slots;
    this.#free = depth === 32 ? -1 : (1 << depth) - 1;
    this.#link.write(AHCI_PX_SERR, 0xffffffff);
    this.#link.write(AHCI_PX_IS, 0xffffffff);
    this.#link.write(AHCI_PX_IE, INTERRUPTS);
  }

  /** After a reset of the HBA: the port as it was, with no command. False: the disk does not come back. */
  revive(): boolean {
    this.prepare();
    const ready = this.#host.waitUntil(() => this.linked, LINK_NS) && this.#link.waitReady();
    this.#gone = !ready;
    if (!ready) return false;
    this.#link.start();
    this.#link.write(AHCI_PX_IS, 0xffffffff);
    this.#link.write(AHCI_PX_IE, INTERRUPTS);
    return true;
  }

  release(): void {
    this.#link.write(AHCI_PX_IE, 0);
    this.#link.stop();
    this.#link.stopFrames();
    const { dma } = this.#host;
    dma.free(this.#list, LIST_BYTES);
    dma.free(this.#frames, AHCI_RFIS_BYTES);
    if (this.#tables === 0) return;
    dma.free(this.#tables, (this.#slots + 1) * TABLE_BYTES);
    dma.free(this.#page, PAGE_BYTES);
  }

  /** A table a slot, one more for the driver's own commands, and the page. */
  #allocate(): void {
    if (this.#tables !== 0) return;
    const { dma } = this.#host;
    this.#tables = dma.alloc((this.#slots + 1) * TABLE_BYTES, AHCI_TABLE_PRDT, this.#addressBits);
    this.#page = dma.alloc(PAGE_BYTES, PAGE_BYTES, this.#addressBits);
    for (let slot = 0; slot < this.#slots; slot++)
      this.#writeHeader(slot, 0, this.#tables + slot * TABLE_BYTES);
  }
}

function bitCount(bits: number): number {
  let count = 0;
  for (let left = bits; left !== 0; left &= left - 1) count++;
  return count;
}
