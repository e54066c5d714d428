// One channel of a PIIX IDE controller with its one or two drives: one command at a time, its table of descriptors,
// and how the channel recovers from errors. References are those of piix-ide.ts.

import {
  ATA_IDENTIFY,
  ATA_STATUS_BSY,
  ATA_STATUS_DF,
  ATA_STATUS_DRQ,
  ATA_STATUS_ERR,
} from '../../assembly/ata/regs.ts';
import {
  IDE_COMMAND,
  IDE_CONTROL_HOB,
  IDE_CONTROL_NIEN,
  IDE_CONTROL_SRST,
  IDE_COUNT,
  IDE_DATA,
  IDE_DEVICE,
  IDE_DEVICE_SECOND,
  IDE_ERROR,
  IDE_FEATURE,
  IDE_FLOATING,
  IDE_LBA_HIGH,
  IDE_LBA_LOW,
  IDE_LBA_MID,
  IDE_STATUS,
  MASTER_CAPABLE_0,
  MASTER_CAPABLE_1,
  MASTER_COMMAND,
  MASTER_ERROR,
  MASTER_INTERRUPT,
  MASTER_START,
  MASTER_STATUS,
  MASTER_STRIDE,
  MASTER_TABLE,
  MASTER_TO_MEMORY,
  PIIX_BAR_MASTER,
  PRD_BYTES,
  PRD_END,
} from '../../assembly/piix-ide/regs.ts';
import { ASC_INVALID_CDB_FIELD, KEY_ILLEGAL_REQUEST } from '../../assembly/scsi/regs.ts';
import {
  type AtaDisk,
  type AtaFailure,
  failCommand,
  fillRanges,
  parseIdentify,
  setSense,
  TaskFile,
  TRIM_SECTORS,
  transferBytes,
} from './ata.ts';
import type { CommandStatus, DriverCommand, DriverHost } from './driver.ts';
import { ANSWER_BYTES, deliver, translate } from './sat.ts';

const RANGES_BYTES = 512;
const IDENTIFY_BYTES = 512;
const DRIVES = 2;
/** Bits 7 and 5 of the device register are set for drives of old. */
const DEVICE_OLD = 0xa0;
const TWO_24 = 2 ** 24;
/** SRST stays for 5 µs; drives are ready within 31 s ([3] volume 2, 9.2). */
const SRST_NS = 5000;
const READY_NS = 31e9;
const COMMAND_NS = 30e9;

export class PiixChannel {
  readonly #host: DriverHost;
  /** BARs of the command and the control block, the first of the bus master's registers. */
  readonly #block: number;
  readonly #control: number;
  readonly #master: number;
  /** Table of descriptors, and room for one block of ranges. */
  readonly #table: number;
  readonly #tableBytes: number;
  readonly #ranges: number;
  readonly #disks: (AtaDisk | null)[] = [null, null];
  /** Drives that do not answer any more. */
  readonly #gone = [false, false];
  /** Bits of the master's status that say which drives do DMA. */
  #capable = 0;
  readonly #task = new TaskFile();
  readonly #failure: AtaFailure = { status: 0, error: 0, lba: 0 };
  readonly #answer = new Uint8Array(ANSWER_BYTES);

  /** The one command, the drive that it is for, and whether it is with the drive. */
  #command: DriverCommand | null = null;
  #drive = 0;
  #issued = false;
  /** The driver answers; the drive only shows that it is alive. */
  #answered = false;
  #recovering = false;

  constructor(host: DriverHost, number: number, entries: number, addressBits: number) {
    this.#host = host;
    this.#block = 2 * number;
    this.#control = 2 * number + 1;
    this.#master = MASTER_STRIDE * number;
    // A table that is aligned to its size leaves no 64 KiB.
    this.#tableBytes = 2 ** Math.ceil(Math.log2(entries * PRD_BYTES));
    this.#table = host.dma.alloc(this.#tableBytes, this.#tableBytes, addressBits);
    this.#ranges = host.dma.alloc(RANGES_BYTES, RANGES_BYTES, addressBits);
  }

  // Setting up.

  /** Resets the channel and identifies its drives. */
  probe(): { drive: number; disk: AtaDisk }[] {
    const found: { drive: number; disk: AtaDisk }[] = [];
    if (!this.#softReset()) return found;
    for (let drive = 0; drive < DRIVES; drive++) {
      const disk = this.#isDisk(drive) ? this.#identify(drive) : null;
      if (disk === null) continue;
      this.#disks[drive] = disk;
      this.#capable |= drive === 0 ? MASTER_CAPABLE_0 : MASTER_CAPABLE_1;
      found.push({ drive, disk });
    }
    this.#clearMaster();
    if (found.length > 0) this.#setControl(0);
    return found;
  }

  /** Signature of a disk ([3] 9.1); where no second drive is, the first one gives status 0 for it. */
  #isDisk(drive: number): boolean {
    this.#select(drive);
    if (!this.#host.waitUntil(() => !this.#isBusy(), READY_NS)) return false;
    const status = this.#read(IDE_STATUS);
    if (status === 0 || status === IDE_FLOATING || status === 0xff) return false;
    return this.#read(IDE_LBA_MID) === 0 && this.#read(IDE_LBA_HIGH) === 0;
  }

  /** IDENTIFY DEVICE by PIO, polled. */
  #identify(drive: number): AtaDisk | null {
    this.#select(drive);
    this.#write(IDE_COMMAND, ATA_IDENTIFY);
    if (!this.#host.waitUntil(() => !this.#isBusy(), COMMAND_NS)) return null;
    const status = this.#read(IDE_STATUS);
    if ((status & ATA_STATUS_ERR) !== 0 || (status & ATA_STATUS_DRQ) === 0) return null;
    const words = new Uint16Array(IDENTIFY_BYTES / 2);
    for (let i = 0; i < words.length; i++) words[i] = this.#host.controller.read16(this.#block, IDE_DATA);
    const bytes = new Uint8Array(IDENTIFY_BYTES);
    for (const [i, word] of words.entries()) {
      bytes[2 * i] = word & 0xff;
      bytes[2 * i + 1] = word >>> 8;
    }
    return parseIdentify(bytes);
  }

  release(): void {
    this.#setControl(IDE_CONTROL_NIEN);
    this.#stopMaster();
    this.#clearMaster();
    this.#endOpen('aborted');
    this.#host.dma.free(this.#table, this.#tableBytes);
    this.#host.dma.free(this.#ranges, RANGES_BYTES);
  }

  // The way of a command.

  /** Prepares the channel's one command; false while there is another. */
  submit(command: DriverCommand, drive: number): boolean {
    if (this.#command !== null) return false;
    this.#command = command;
    this.#drive = drive;
    this.#issued = false;
    command.senseLength = 0;
    command.residual = 0;
    this.#answered = !this.#plan(command, this.#disks[drive] as AtaDisk);
    const { bytes } = this.#task;
    if (command.op === 'discard' && bytes > 0) this.#writePrd(0, this.#ranges, bytes, true);
    else if (bytes > 0) this.#writeTable(command, bytes);
    return true;
  }

  /** Gives the drive its command. */
  kick(): void {
    if (this.#command === null || this.#issued || this.#recovering) return;
    if (this.#gone[this.#drive] === true) {
      this.#endOpen('no-device');
      return;
    }
    this.#issued = true;
    const task = this.#task;
    const direction = task.writes ? 0 : MASTER_TO_MEMORY;
    if (task.bytes > 0) {
      this.#clearMaster();
      this.#host.controller.write32(PIIX_BAR_MASTER, this.#master + MASTER_TABLE, this.#table);
      this.#writeMaster(MASTER_COMMAND, direction);
    }
    this.#writeTask(task);
    if (task.bytes > 0) this.#writeMaster(MASTER_COMMAND, direction | MASTER_START);
  }

  /** True if the channel had interrupted ([2] 2.2). */
  interrupt(): boolean {
    // Waiting in #softReset() lets the other channel's interrupts in.
    if (this.#recovering) return false;
    const master = this.#readMaster(MASTER_STATUS);
    if ((master & MASTER_INTERRUPT) === 0) return false;
    const busy = this.#isBusy();
    if (!busy && this.#issued) this.#stopMaster();
    const status = this.#read(IDE_STATUS);
    this.#clearMaster();
    if (!busy && this.#issued) this.#finish(master, status);
    return true;
  }

  /** Gives up the command, if it is this channel's. */
  abort(command: DriverCommand): boolean {
    if (this.#command !== command) return false;
    if (this.#issued) {
      this.interrupt();
      if (this.#command !== command) return true;
      this.#recover();
    }
    this.#endOpen('aborted');
    return true;
  }

  reset(): void {
    this.#recover();
    this.#endOpen(this.#gone[this.#drive] === true ? 'no-device' : 'aborted');
  }

  /** Decides what the drive is asked for; false: nothing, but for a sign of life. */
  #plan(command: DriverCommand, disk: AtaDisk): boolean {
    const task = this.#task;
    const { op, lba, sectors, fua } = command;
    switch (op) {
      case 'read':
      case 'write':
        task.transfer(disk, false, op === 'write', lba, sectors, fua);
        return true;
      case 'flush':
        task.flush();
        return true;
      case 'discard':
        if (!disk.trim || sectors > TRIM_SECTORS) return this.#refuse(command);
        fillRanges(this.#host.memory, this.#ranges, lba, sectors);
        task.trim();
        return true;
      case 'scsi':
        if (!translate(command, disk, false, task)) return false;
        return task.bytes <= transferBytes(command) || this.#refuse(command);
    }
  }

  #refuse(command: DriverCommand): false {
    setSense(command, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
    this.#task.nothing();
    return false;
  }

  /** The descriptors of the first `bytes` bytes: the table ends with the data. */
  #writeTable(command: DriverCommand, bytes: number): void {
    const { addresses, lengths } = command.segments;
    for (let i = 0, left = bytes; left > 0; i++) {
      const n = Math.min(lengths[i] as number, left);
      left -= n;
      this.#writePrd(i, addresses[i] as number, n, left === 0);
    }
  }

  /** [2] 1.2: 64 KiB are a count of 0, and the descriptor has 32 address bits. */
  #writePrd(i: number, address: number, bytes: number, last: boolean): void {
    const { memory } = this.#host;
    const at = this.#table + i * PRD_BYTES;
    memory.write32(at, address >>> 0);
    memory.write32(at + 4, ((bytes & 0xffff) | (last ? PRD_END : 0)) >>> 0);
  }

  /** Both bytes of every register, the upper one first ([3] 6.2). */
  #writeTask(task: TaskFile): void {
    const { feature, count, lba, device, command } = task;
    const low = lba % TWO_24;
    const high = Math.floor(lba / TWO_24);
    this.#write(IDE_DEVICE, DEVICE_OLD | device | (this.#drive === 0 ? 0 : IDE_DEVICE_SECOND));
    this.#writeTwice(IDE_FEATURE, feature >>> 8, feature);
    this.#writeTwice(IDE_COUNT, count >>> 8, count);
    this.#writeTwice(IDE_LBA_LOW, high, low);
    this.#writeTwice(IDE_LBA_MID, high >>> 8, low >>> 8);
    this.#writeTwice(IDE_LBA_HIGH, high >>> 16, low >>> 16);
    this.#write(IDE_COMMAND, command);
  }

  #writeTwice(register: number, before: number, value: number): void {
    this.#write(register, before & 0xff);
    this.#write(register, value & 0xff);
  }

  /** The drive is through with its command. */
  #finish(master: number, status: number): void {
    const command = this.#command as DriverCommand;
    const disk = this.#disks[this.#drive] as AtaDisk;
    if ((master & MASTER_ERROR) !== 0) {
      this.#recover();
      this.#endOpen('transport-error');
      return;
    }
    if ((status & (ATA_STATUS_ERR | ATA_STATUS_DF)) !== 0) {
      this.#readFailure(status);
      failCommand(command, disk, this.#failure);
    } else if (this.#answered) deliver(command, disk, this.#host.memory, this.#answer);
    else {
      command.status = 'ok';
      command.residual = command.op === 'scsi' ? transferBytes(command) - this.#task.bytes : 0;
    }
    this.#command = null;
    this.#issued = false;
    command.done(command);
  }

  /** Error register, and the sector: the upper bytes behind HOB. */
  #readFailure(status: number): void {
    const failure = this.#failure;
    failure.status = status;
    failure.error = this.#read(IDE_ERROR);
    const low = this.#readLba();
    this.#setControl(IDE_CONTROL_HOB);
    failure.lba = this.#readLba() * TWO_24 + low;
    this.#setControl(0);
  }

  #readLba(): number {
    return this.#read(IDE_LBA_LOW) | (this.#read(IDE_LBA_MID) << 8) | (this.#read(IDE_LBA_HIGH) << 16);
  }

  #endOpen(status: CommandStatus): void {
    const command = this.#command;
    if (command === null) return;
    this.#command = null;
    this.#issued = false;
    command.status = status;
    command.senseLength = 0;
    command.residual = transferBytes(command);
    command.done(command);
  }

  // Recovery.

  /** Ends whatever drives and bus master do, and looks who still answers. */
  #recover(): void {
    this.#recovering = true;
    this.#stopMaster();
    const alive = this.#softReset();
    for (let drive = 0; drive < DRIVES; drive++) {
      if (this.#disks[drive] !== null) this.#gone[drive] = !alive || !this.#isDisk(drive);
    }
    this.#clearMaster();
    this.#setControl(0);
    this.#recovering = false;
  }

  /** Software reset without interrupts; false where nobody gets ready. */
  #softReset(): boolean {
    this.#setControl(IDE_CONTROL_NIEN | IDE_CONTROL_SRST);
    this.#host.waitUntil(() => false, SRST_NS);
    this.#setControl(IDE_CONTROL_NIEN);
    return this.#host.waitUntil(() => !this.#isBusy(), READY_NS);
  }

  // Registers.

  #select(drive: number): void {
    this.#write(IDE_DEVICE, DEVICE_OLD | (drive === 0 ? 0 : IDE_DEVICE_SECOND));
  }

  /** By the alternate status: the interrupt stays. */
  #isBusy(): boolean {
    return (this.#host.controller.read8(this.#control, 0) & ATA_STATUS_BSY) !== 0;
  }

  #setControl(value: number): void {
    this.#host.controller.write8(this.#control, 0, value);
  }

  #stopMaster(): void {
    this.#writeMaster(MASTER_COMMAND, 0);
  }

  /** Clears interrupt and error. */
  #clearMaster(): void {
    this.#writeMaster(MASTER_STATUS, this.#capable | MASTER_INTERRUPT | MASTER_ERROR);
  }

  #read(register: number): number {
    return this.#host.controller.read8(this.#block, register);
  }

  #write(register: number, value: number): void {
    this.#host.controller.write8(this.#block, register, value);
  }

  #readMaster(register: number): number {
    return this.#host.controller.read8(PIIX_BAR_MASTER, this.#master + register);
  }

  #writeMaster(register: number, value: number): void {
    this.#host.controller.write8(PIIX_BAR_MASTER, this.#master + register, value);
  }
}
