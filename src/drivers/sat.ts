// SCSI to ATA translation ([2] of ata.ts): what an ATA disk is asked for a SCSI command, and the data of the
// commands that the driver answers from what IDENTIFY said.
//
// [1] SPC-3, T10/1416-D revision 23
// [2] SBC-2, T10/1417-D revision 16

import { ATA_IDLE_IMMEDIATE, ATA_READ_VERIFY_EXT, ATA_STANDBY_IMMEDIATE } from '../../assembly/ata/regs.ts';
import {
  ASC_INVALID_CDB_FIELD,
  ASC_INVALID_OPCODE,
  ASC_LBA_RANGE,
  CACHING_WCE,
  CDB_BYTCHK,
  CDB_DBD,
  CDB_EVPD,
  CDB_FUA,
  CDB_START,
  INQUIRY_AT_PRODUCT,
  INQUIRY_AT_REVISION,
  INQUIRY_AT_VENDOR,
  INQUIRY_VERSION_SPC3,
  KEY_ILLEGAL_REQUEST,
  MODE_ALL,
  MODE_CACHING,
  MODE_CONTROL,
  MODE_DPOFUA,
  OP_INQUIRY,
  OP_MODE_SENSE_6,
  OP_MODE_SENSE_10,
  OP_READ_6,
  OP_READ_10,
  OP_READ_12,
  OP_READ_16,
  OP_READ_CAPACITY_10,
  OP_REPORT_LUNS,
  OP_REQUEST_SENSE,
  OP_SERVICE_ACTION_IN_16,
  OP_START_STOP_UNIT,
  OP_SYNCHRONIZE_CACHE_10,
  OP_SYNCHRONIZE_CACHE_16,
  OP_TEST_UNIT_READY,
  OP_VERIFY_10,
  OP_VERIFY_12,
  OP_VERIFY_16,
  OP_WRITE_6,
  OP_WRITE_10,
  OP_WRITE_12,
  OP_WRITE_16,
  SA_READ_CAPACITY_16,
  SENSE_BYTES,
  SENSE_CURRENT,
  VPD_IDENTIFICATION,
  VPD_SERIAL,
  VPD_SUPPORTED,
} from '../../assembly/scsi/regs.ts';
import type { PhysMem } from '../machine/phys-mem.ts';
import { type AtaDisk, setSense, type TaskFile, transferBytes } from './ata.ts';
import { get32, put32 } from './big-endian.ts';
import type { DriverCommand } from './driver.ts';

const TWO_32 = 2 ** 32;
/** Most sectors that one ATA command moves. */
const SECTORS_MAX = 65536;
/** LOEJ of START STOP UNIT, [2] 5.19. */
const CDB_LOEJ = 0x02;
/** Power conditions, in the high nibble of its byte 4. */
const CDB_POWER_CONDITIONS = 0xf0;
/** Page control of MODE SENSE: the value that may be changed (none can). */
const PAGE_CHANGEABLE = 1;
/** Room for every answer. */
export const ANSWER_BYTES = 128;

/**
 * Builds the ATA command for the descriptor block of `command`. True: the disk's data are the command's. False:
 * `task` is only a sign of life, and the command's answer (or sense data) is the driver's, by answer().
 */
export function translate(command: DriverCommand, disk: AtaDisk, queued: boolean, task: TaskFile): boolean {
  const { cdb } = command;
  const op = cdb[0] as number;
  switch (op) {
    case OP_READ_6:
    case OP_READ_10:
    case OP_READ_12:
    case OP_READ_16:
      return transfer(command, disk, queued, false, task);
    case OP_WRITE_6:
    case OP_WRITE_10:
    case OP_WRITE_12:
    case OP_WRITE_16:
      return transfer(command, disk, queued, true, task);
    case OP_VERIFY_10:
    case OP_VERIFY_12:
    case OP_VERIFY_16:
      return verify(command, disk, task);
    case OP_SYNCHRONIZE_CACHE_10:
    case OP_SYNCHRONIZE_CACHE_16:
      task.flush();
      return true;
    case OP_START_STOP_UNIT:
      return startStop(command, task);
    default:
      task.nothing();
      return false;
  }
}

function transfer(
  command: DriverCommand,
  disk: AtaDisk,
  queued: boolean,
  writes: boolean,
  task: TaskFile,
): boolean {
  const { cdb } = command;
  const lba = lbaOf(cdb);
  const sectors = sectorsOf(cdb);
  if (!inRange(command, disk, lba, sectors, task)) return false;
  const fua = cdb[0] !== OP_READ_6 && cdb[0] !== OP_WRITE_6 && ((cdb[1] as number) & CDB_FUA) !== 0;
  task.transfer(disk, queued, writes, lba, sectors, fua);
  return true;
}

/** VERIFY without data to compare, [2] 5.20. */
function verify(command: DriverCommand, disk: AtaDisk, task: TaskFile): boolean {
  const { cdb } = command;
  if (((cdb[1] as number) & CDB_BYTCHK) !== 0) return refuse(command, ASC_INVALID_CDB_FIELD, task);
  const lba = lbaOf(cdb);
  const sectors = sectorsOf(cdb);
  if (!inRange(command, disk, lba, sectors, task)) return false;
  task.plain(ATA_READ_VERIFY_EXT, lba, sectors);
  return true;
}

function startStop(command: DriverCommand, task: TaskFile): boolean {
  const flags = command.cdb[4] as number;
  if ((flags & (CDB_LOEJ | CDB_POWER_CONDITIONS)) !== 0) return refuse(command, ASC_INVALID_CDB_FIELD, task);
  task.plain((flags & CDB_START) !== 0 ? ATA_IDLE_IMMEDIATE : ATA_STANDBY_IMMEDIATE);
  return true;
}

/** Nothing to do is no error; a range that no disk or no ATA command holds is. */
function inRange(
  command: DriverCommand,
  disk: AtaDisk,
  lba: number,
  sectors: number,
  task: TaskFile,
): boolean {
  if (lba + sectors > disk.sectors) return refuse(command, ASC_LBA_RANGE, task);
  if (sectors > SECTORS_MAX) return refuse(command, ASC_INVALID_CDB_FIELD, task);
  if (sectors > 0) return true;
  task.nothing();
  return false;
}

function refuse(command: DriverCommand, code: number, task: TaskFile): false {
  setSense(command, KEY_ILLEGAL_REQUEST, code);
  task.nothing();
  return false;
}

/** First sector of a command that has one. */
export function lbaOf(cdb: Uint8Array): number {
  switch ((cdb[0] as number) >>> 5) {
    case 0:
      return get32(cdb, 0) % 2 ** 21;
    case 4:
      return get32(cdb, 2) * TWO_32 + get32(cdb, 6);
    default:
      return get32(cdb, 2);
  }
}

/** A count of 0 is 256 in the commands of 6 bytes, and nothing in the others. */
export function sectorsOf(cdb: Uint8Array): number {
  switch ((cdb[0] as number) >>> 5) {
    case 0:
      return (cdb[4] as number) === 0 ? 256 : (cdb[4] as number);
    case 4:
      return get32(cdb, 10);
    case 5:
      return get32(cdb, 6);
    default:
      return ((cdb[7] as number) << 8) | (cdb[8] as number);
  }
}

/** Ends a command that the driver answers: puts the data where the command wants them. `into` is scratch. */
export function deliver(command: DriverCommand, disk: AtaDisk, memory: PhysMem, into: Uint8Array): void {
  const total = transferBytes(command);
  command.residual = total;
  if (command.senseLength > 0) return;
  command.status = 'ok';
  const length = Math.min(answer(command, disk, into), total);
  // answer() may have refused.
  if (command.senseLength > 0) return;
  command.residual = total - length;
  const { addresses, lengths } = command.segments;
  for (let i = 0, from = 0; from < length; i++) {
    const n = Math.min(lengths[i] as number, length - from);
    memory.writeForDevice(addresses[i] as number, into, from, n);
    from += n;
  }
}

/**
 * The data of a command that the driver answers, in `into`; how many bytes. Leaves sense data in the command
 * where it is refused. A command that translate() refused is not asked about again.
 */
function answer(command: DriverCommand, disk: AtaDisk, into: Uint8Array): number {
  const { cdb } = command;
  into.fill(0);
  switch (cdb[0] as number) {
    case OP_READ_6:
    case OP_READ_10:
    case OP_READ_12:
    case OP_READ_16:
    case OP_WRITE_6:
    case OP_WRITE_10:
    case OP_WRITE_12:
    case OP_WRITE_16:
    case OP_VERIFY_10:
    case OP_VERIFY_12:
    case OP_VERIFY_16:
    case OP_TEST_UNIT_READY:
      return 0;
    case OP_INQUIRY:
      return Math.min(inquiry(command, disk, into), ((cdb[3] as number) << 8) | (cdb[4] as number));
    case OP_REQUEST_SENSE:
      into[0] = SENSE_CURRENT;
      into[7] = SENSE_BYTES - 8;
      return Math.min(SENSE_BYTES, cdb[4] as number);
    case OP_READ_CAPACITY_10:
      put32(into, 0, Math.min(disk.sectors - 1, 0xffffffff));
      put32(into, 4, disk.sectorBytes);
      return 8;
    case OP_SERVICE_ACTION_IN_16:
      return Math.min(capacity16(command, disk, into), get32(cdb, 10));
    case OP_MODE_SENSE_6:
      return Math.min(modeSense(command, disk, into, 4), cdb[4] as number);
    case OP_MODE_SENSE_10:
      return Math.min(modeSense(command, disk, into, 8), ((cdb[7] as number) << 8) | (cdb[8] as number));
    case OP_REPORT_LUNS:
      // One unit, number 0.
      into[3] = 8;
      return Math.min(16, get32(cdb, 6));
    default:
      setSense(command, KEY_ILLEGAL_REQUEST, ASC_INVALID_OPCODE);
      return 0;
  }
}

function inquiry(command: DriverCommand, disk: AtaDisk, into: Uint8Array): number {
  const page = command.cdb[2] as number;
  if (((command.cdb[1] as number) & CDB_EVPD) !== 0) return vitalProduct(command, disk, page, into);
  if (page !== 0) return invalidField(command);
  into[2] = INQUIRY_VERSION_SPC3;
  into[3] = 2;
  into[4] = 31;
  // Commands may be queued.
  into[7] = 2;
  putText(into, INQUIRY_AT_VENDOR, 8, disk.vendor ?? 'ATA');
  putText(into, INQUIRY_AT_PRODUCT, 16, disk.model);
  putText(into, INQUIRY_AT_REVISION, 4, disk.firmware);
  return 36;
}

function vitalProduct(command: DriverCommand, disk: AtaDisk, page: number, into: Uint8Array): number {
  into[1] = page;
  switch (page) {
    case VPD_SUPPORTED:
      into[3] = 3;
      into[4] = VPD_SUPPORTED;
      into[5] = VPD_SERIAL;
      into[6] = VPD_IDENTIFICATION;
      return 7;
    case VPD_SERIAL:
      into[3] = 20;
      putText(into, 4, 20, disk.serial);
      return 24;
    case VPD_IDENTIFICATION:
      return identification(disk, into);
    default:
      return invalidField(command);
  }
}

/** A T10 vendor identification, and the world wide name where there is one ([1] 7.6.3). */
function identification(disk: AtaDisk, into: Uint8Array): number {
  const text = 8 + 40 + 20;
  into[4] = 2;
  into[5] = 1;
  into[7] = text;
  putText(into, 8, 8, disk.vendor ?? 'ATA');
  putText(into, 16, 40, disk.model);
  putText(into, 56, 20, disk.serial);
  let end = 8 + text;
  if (disk.wwn.length === 8) {
    into[end] = 1;
    into[end + 1] = 3;
    into[end + 3] = 8;
    into.set(disk.wwn, end + 4);
    end += 12;
  }
  into[3] = end - 4;
  return end;
}

function capacity16(command: DriverCommand, disk: AtaDisk, into: Uint8Array): number {
  if (((command.cdb[1] as number) & 31) !== SA_READ_CAPACITY_16) {
    setSense(command, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
    return 0;
  }
  const last = disk.sectors - 1;
  put32(into, 0, Math.floor(last / TWO_32));
  put32(into, 4, last % TWO_32);
  put32(into, 8, disk.sectorBytes);
  return 32;
}

/** MODE SENSE with a header of 4 or 8 bytes: the caching and the control page. */
function modeSense(command: DriverCommand, disk: AtaDisk, into: Uint8Array, header: 4 | 8): number {
  const { cdb } = command;
  const page = (cdb[2] as number) & 0x3f;
  const control = (cdb[2] as number) >>> 6;
  const subpage = cdb[3] as number;
  if (control === 3 || (subpage !== 0 && subpage !== 0xff)) return invalidField(command);
  if (page !== MODE_ALL && page !== MODE_CACHING && page !== MODE_CONTROL) return invalidField(command);
  let end: number = header;
  if (((cdb[1] as number) & CDB_DBD) === 0) {
    put32(into, end, Math.min(disk.sectors, 0xffffffff));
    put32(into, end + 4, disk.sectorBytes);
    end += 8;
  }
  const descriptors = end - header;
  if (page !== MODE_CONTROL) {
    into[end] = MODE_CACHING;
    into[end + 1] = 18;
    if (control !== PAGE_CHANGEABLE && disk.writeCache) into[end + 2] = CACHING_WCE;
    end += 20;
  }
  if (page !== MODE_CACHING) {
    into[end] = MODE_CONTROL;
    into[end + 1] = 10;
    end += 12;
  }
  const flags = disk.fua ? MODE_DPOFUA : 0;
  if (header === 4) {
    into[0] = end - 1;
    into[2] = flags;
    into[3] = descriptors;
  } else {
    into[1] = end - 2;
    into[3] = flags;
    into[7] = descriptors;
  }
  return end;
}

function invalidField(command: DriverCommand): number {
  setSense(command, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
  return 0;
}

function putText(into: Uint8Array, at: number, length: number, text: string): void {
  for (let i = 0; i < length; i++) into[at + i] = i < text.length ? text.charCodeAt(i) : 0x20;
}
