// What every driver of ATA disks needs: IDENTIFY data taken apart, the task files of commands, and the sense data
// that stand for an ATA error.
//
// [1] AT Attachment 8 - ATA/ATAPI Command Set (ATA8-ACS), T13/1699-D revision 6a
// [2] SCSI / ATA Translation (SAT-2), T10/1826-D revision 9

import {
  ATA_CHECK_POWER,
  ATA_DATA_SET_MANAGEMENT,
  ATA_DEVICE_FUA,
  ATA_DEVICE_LBA,
  ATA_DSM_ENTRIES,
  ATA_DSM_TRIM,
  ATA_ERROR_ICRC,
  ATA_ERROR_IDNF,
  ATA_ERROR_UNC,
  ATA_FLUSH_CACHE_EXT,
  ATA_ID_DSM,
  ATA_ID_DSM_BLOCKS,
  ATA_ID_ENABLED_85,
  ATA_ID_FIRMWARE,
  ATA_ID_MODEL,
  ATA_ID_QUEUE_DEPTH,
  ATA_ID_SATA,
  ATA_ID_SECTOR_SIZE,
  ATA_ID_SECTOR_WORDS,
  ATA_ID_SECTORS_28,
  ATA_ID_SECTORS_48,
  ATA_ID_SERIAL,
  ATA_ID_SUPPORTED_83,
  ATA_ID_SUPPORTED_84,
  ATA_ID_WWN,
  ATA_READ_DMA_EXT,
  ATA_READ_FPDMA_QUEUED,
  ATA_STATUS_DF,
  ATA_WRITE_DMA_EXT,
  ATA_WRITE_DMA_FUA_EXT,
  ATA_WRITE_FPDMA_QUEUED,
} from '../../assembly/ata/regs.ts';
import {
  ASC_LBA_RANGE,
  ASC_NONE,
  ASC_READ_ERROR,
  KEY_ILLEGAL_REQUEST,
  KEY_MEDIUM_ERROR,
  SENSE_AT_ASC,
  SENSE_AT_ASCQ,
  SENSE_AT_INFORMATION,
  SENSE_AT_KEY,
  SENSE_AT_LENGTH,
  SENSE_AT_RESPONSE,
  SENSE_BYTES,
  SENSE_CURRENT,
  SENSE_VALID,
} from '../../assembly/scsi/regs.ts';
import type { PhysMem } from '../machine/phys-mem.ts';
import type { DriverCommand, DriverDisk } from './driver.ts';

const TWO_24 = 2 ** 24;
const TWO_32 = 2 ** 32;
const TWO_48 = 2 ** 48;
/** Sense keys and codes that no model of a SCSI disk uses. */
const KEY_HARDWARE_ERROR = 4;
const KEY_ABORTED_COMMAND = 11;
const ASC_CRC_ERROR = 0x4700;
const ASC_TARGET_FAILURE = 0x4400;
/** Most sectors of one range of DATA SET MANAGEMENT. */
const RANGE_SECTORS = 0xffff;

export interface AtaDisk extends DriverDisk {
  /** What INQUIRY calls the maker; `ATA` where nothing else is said. */
  readonly vendor?: string;
  readonly firmware: string;
  /** Queued commands that the disk takes at once; 0: it has no queue. */
  readonly queueDepth: number;
  readonly trim: boolean;
  readonly fua: boolean;
  /** World wide name, 8 bytes; all zero where the disk has none. */
  readonly wwn: Uint8Array;
}

/** IDENTIFY DEVICE data, [1] 7.16.7. Null where they don't describe a disk with 48-bit addresses and DMA. */
export function parseIdentify(data: Uint8Array): AtaDisk | null {
  const word = (i: number): number => (data[2 * i] ?? 0) | ((data[2 * i + 1] ?? 0) << 8);
  const wide = (word(ATA_ID_SUPPORTED_83) & 0xc400) === 0x4400;
  const sectors = wide
    ? word(ATA_ID_SECTORS_48) + word(101) * 2 ** 16 + word(102) * TWO_32
    : word(ATA_ID_SECTORS_28) + word(61) * 2 ** 16;
  if ((word(0) & 0x8000) !== 0 || !wide || sectors === 0) return null;
  const large = (word(ATA_ID_SECTOR_SIZE) & 0xd000) === 0x5000;
  const words = large ? word(ATA_ID_SECTOR_WORDS) + word(ATA_ID_SECTOR_WORDS + 1) * 2 ** 16 : 256;
  const queues = (word(ATA_ID_SATA) & 0x8100) === 0x0100;
  const named = (word(ATA_ID_SUPPORTED_84) & 0xc100) === 0x4100;
  return {
    model: text(word, ATA_ID_MODEL, 20),
    serial: text(word, ATA_ID_SERIAL, 10),
    firmware: text(word, ATA_ID_FIRMWARE, 4),
    sectors,
    sectorBytes: words * 2,
    writeCache: (word(ATA_ID_ENABLED_85) & 0x20) !== 0,
    queueDepth: queues ? (word(ATA_ID_QUEUE_DEPTH) & 31) + 1 : 0,
    trim: (word(ATA_ID_DSM) & 1) !== 0 && word(ATA_ID_DSM_BLOCKS) !== 0,
    fua: (word(ATA_ID_SUPPORTED_84) & 0xc040) === 0x4040,
    wwn: Uint8Array.from(
      { length: named ? 8 : 0 },
      (_, i) => word(ATA_ID_WWN + (i >> 1)) >>> (i % 2 ? 0 : 8),
    ),
  };
}

/** [1] 3.3.10: two characters a word, the first in the high byte. */
function text(word: (i: number) => number, first: number, words: number): string {
  let characters = '';
  for (let i = first; i < first + words; i++) {
    characters += String.fromCharCode(word(i) >>> 8, word(i) & 0xff);
  }
  return characters.replaceAll('\0', ' ').trim();
}

/** A command as it goes into the task file. One object is built again for each command. */
export class TaskFile {
  command = 0;
  feature = 0;
  count = 0;
  lba = 0;
  device = ATA_DEVICE_LBA;
  /** FPDMA: the transport puts the tag into the count. */
  queued = false;
  /** Data from memory to the disk. */
  writes = false;
  /** Bytes of data. */
  bytes = 0;

  #set(command: number, lba: number, count: number): void {
    this.command = command;
    this.feature = 0;
    this.count = count & 0xffff;
    this.lba = lba;
    this.device = ATA_DEVICE_LBA;
    this.queued = false;
    this.writes = false;
    this.bytes = 0;
  }

  /** Reads or writes sectors, queued where the disk has a queue. */
  transfer(
    disk: AtaDisk,
    queued: boolean,
    writes: boolean,
    lba: number,
    sectors: number,
    fua: boolean,
  ): void {
    if (queued) {
      this.#set(writes ? ATA_WRITE_FPDMA_QUEUED : ATA_READ_FPDMA_QUEUED, lba, 0);
      this.feature = sectors & 0xffff;
      this.queued = true;
      if (fua) this.device |= ATA_DEVICE_FUA;
    } else if (writes) {
      this.#set(fua ? ATA_WRITE_DMA_FUA_EXT : ATA_WRITE_DMA_EXT, lba, sectors);
    } else {
      this.#set(ATA_READ_DMA_EXT, lba, sectors);
    }
    this.writes = writes;
    this.bytes = sectors * disk.sectorBytes;
  }

  /** A command without data. */
  plain(command: number, lba = 0, count = 0): void {
    this.#set(command, lba, count);
  }

  /** A command that reads one block of 512 bytes. */
  readBlock(command: number, lba = 0, count = 0): void {
    this.#set(command, lba, count);
    this.bytes = 512;
  }

  flush(): void {
    this.#set(ATA_FLUSH_CACHE_EXT, 0, 0);
  }

  /** Nothing but a sign of life: for commands that the driver answers itself. */
  nothing(): void {
    this.#set(ATA_CHECK_POWER, 0, 0);
  }

  /** DATA SET MANAGEMENT with one block of ranges, which fillRanges() has written. */
  trim(): void {
    this.#set(ATA_DATA_SET_MANAGEMENT, 0, 1);
    this.feature = ATA_DSM_TRIM;
    this.writes = true;
    this.bytes = 512;
  }
}

/** Most sectors that one block of ranges names. */
export const TRIM_SECTORS = ATA_DSM_ENTRIES * RANGE_SECTORS;

/** Writes a block of ranges for DATA SET MANAGEMENT, [1] 7.5.4. */
export function fillRanges(memory: PhysMem, at: number, lba: number, sectors: number): void {
  for (let i = 0; i < ATA_DSM_ENTRIES; i++) {
    const n = Math.min(sectors, RANGE_SECTORS);
    memory.write32(at + 8 * i, n === 0 ? 0 : lba % TWO_32);
    memory.write32(at + 8 * i + 4, n === 0 ? 0 : Math.floor(lba / TWO_32) | (n << 16));
    lba += n;
    sectors -= n;
  }
}

/** The task file of a command that failed. */
export interface AtaFailure {
  status: number;
  error: number;
  lba: number;
}

/** Reads a Register FIS, or the page of the queue error log, which has the same shape from byte 2 on. */
export function readFailure(memory: PhysMem, at: number, into: AtaFailure): void {
  const low = memory.read32(at + 4);
  const high = memory.read32(at + 8);
  into.status = memory.read8(at + 2);
  into.error = memory.read8(at + 3);
  into.lba = ((high % TWO_24) * TWO_24 + (low % TWO_24)) % TWO_48;
}

/** Leaves sense data for an ATA error ([2] 11.7), and what was not moved of a transfer. */
export function failCommand(command: DriverCommand, disk: DriverDisk, failure: AtaFailure): void {
  const bytes = transferBytes(command);
  command.residual = bytes;
  const { error } = failure;
  if ((error & ATA_ERROR_ICRC) !== 0) setSense(command, KEY_ABORTED_COMMAND, ASC_CRC_ERROR);
  else if ((error & ATA_ERROR_UNC) !== 0) {
    setSense(command, KEY_MEDIUM_ERROR, ASC_READ_ERROR, failure.lba);
    const good = (failure.lba - command.lba) * disk.sectorBytes;
    if (command.op === 'read' && good >= 0 && good < bytes) command.residual = bytes - good;
  } else if ((error & ATA_ERROR_IDNF) !== 0) setSense(command, KEY_ILLEGAL_REQUEST, ASC_LBA_RANGE);
  else if ((failure.status & ATA_STATUS_DF) !== 0) {
    setSense(command, KEY_HARDWARE_ERROR, ASC_TARGET_FAILURE, failure.lba);
  } else setSense(command, KEY_ABORTED_COMMAND, ASC_NONE);
}

/** Bytes that the scatter-gather list holds. */
export function transferBytes(command: DriverCommand): number {
  const { count, lengths } = command.segments;
  let bytes = 0;
  for (let i = 0; i < count; i++) bytes += lengths[i] as number;
  return bytes;
}

/** Fixed-format sense data, with the sector in the information field where it fits. */
export function setSense(command: DriverCommand, key: number, code: number, lba = -1): void {
  const { sense } = command;
  sense.fill(0, 0, SENSE_BYTES);
  sense[SENSE_AT_RESPONSE] = SENSE_CURRENT;
  sense[SENSE_AT_KEY] = key;
  sense[SENSE_AT_LENGTH] = SENSE_BYTES - 8;
  sense[SENSE_AT_ASC] = code >>> 8;
  sense[SENSE_AT_ASCQ] = code & 0xff;
  if (lba >= 0 && lba < TWO_32) {
    sense[SENSE_AT_RESPONSE] = SENSE_CURRENT | SENSE_VALID;
    for (let i = 0; i < 4; i++) sense[SENSE_AT_INFORMATION + i] = lba >>> (24 - 8 * i);
  }
  command.senseLength = SENSE_BYTES;
  command.status = 'check-condition';
}
