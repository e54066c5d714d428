// What every SCSI driver needs: descriptor blocks for block commands, and the data that come back. Builders
// write into an array of the caller's and allocate nothing.
//
// [1] SPC-3, T10/1416-D revision 23
// [2] SBC-2, T10/1417-D revision 16; SBC-3 for UNMAP

import {
  CDB_DBD,
  CDB_EVPD,
  CDB_FUA,
  INQUIRY_AT_FLAGS,
  INQUIRY_AT_PRODUCT,
  INQUIRY_AT_REVISION,
  INQUIRY_AT_VENDOR,
  INQUIRY_CMDQUE,
  MODE_CACHING,
  OP_INQUIRY,
  OP_MODE_SENSE_6,
  OP_READ_10,
  OP_READ_16,
  OP_READ_CAPACITY_10,
  OP_SERVICE_ACTION_IN_16,
  OP_SYNCHRONIZE_CACHE_10,
  OP_UNMAP,
  OP_WRITE_10,
  OP_WRITE_16,
  SA_READ_CAPACITY_16,
  SENSE_AT_ASC,
  SENSE_AT_ASCQ,
  SENSE_AT_INFORMATION,
  SENSE_AT_KEY,
  SENSE_VALID,
  VPD_SERIAL,
} from '../../assembly/scsi/regs.ts';
import { get32, put32 } from './big-endian.ts';

/** Bytes of the parameter list of an UNMAP of one range. */
export const UNMAP_LIST_BYTES = 24;
/** Bytes that the commands of a scan ask for. */
export const SCAN_BYTES = 96;

const TWO_32 = 2 ** 32;

/** READ or WRITE of 10 bytes where lba and length fit, else of 16; returns the block's length. */
export function buildTransfer(
  cdb: Uint8Array,
  writes: boolean,
  lba: number,
  sectors: number,
  fua: boolean,
): 10 | 16 {
  cdb[1] = fua ? CDB_FUA : 0;
  if (lba < TWO_32 && sectors < 0x10000) {
    cdb[0] = writes ? OP_WRITE_10 : OP_READ_10;
    put32(cdb, 2, lba);
    cdb[6] = 0;
    cdb[7] = sectors >>> 8;
    cdb[8] = sectors;
    cdb[9] = 0;
    return 10;
  }
  cdb[0] = writes ? OP_WRITE_16 : OP_READ_16;
  put32(cdb, 2, Math.floor(lba / TWO_32));
  put32(cdb, 6, lba % TWO_32);
  put32(cdb, 10, sectors);
  cdb[14] = 0;
  cdb[15] = 0;
  return 16;
}

/** SYNCHRONIZE CACHE of the whole medium. */
export function buildFlush(cdb: Uint8Array): 10 {
  cdb.fill(0, 0, 10);
  cdb[0] = OP_SYNCHRONIZE_CACHE_10;
  return 10;
}

/** UNMAP with a parameter list of one range. */
export function buildUnmap(cdb: Uint8Array): 10 {
  cdb.fill(0, 0, 10);
  cdb[0] = OP_UNMAP;
  cdb[8] = UNMAP_LIST_BYTES;
  return 10;
}

/** The parameter list that belongs to buildUnmap(), SBC-3 5.28. */
export function fillUnmapList(list: Uint8Array, lba: number, sectors: number): void {
  list.fill(0, 0, UNMAP_LIST_BYTES);
  list[1] = UNMAP_LIST_BYTES - 2;
  list[3] = 16;
  put32(list, 8, Math.floor(lba / TWO_32));
  put32(list, 12, lba % TWO_32);
  put32(list, 16, sectors);
}

export function buildInquiry(cdb: Uint8Array): 6 {
  cdb.fill(0, 0, 6);
  cdb[0] = OP_INQUIRY;
  cdb[4] = SCAN_BYTES;
  return 6;
}

/** INQUIRY for the unit serial number. */
export function buildSerialInquiry(cdb: Uint8Array): 6 {
  buildInquiry(cdb);
  cdb[1] = CDB_EVPD;
  cdb[2] = VPD_SERIAL;
  return 6;
}

export function buildReadCapacity10(cdb: Uint8Array): 10 {
  cdb.fill(0, 0, 10);
  cdb[0] = OP_READ_CAPACITY_10;
  return 10;
}

export function buildReadCapacity16(cdb: Uint8Array): 16 {
  cdb.fill(0, 0, 16);
  cdb[0] = OP_SERVICE_ACTION_IN_16;
  cdb[1] = SA_READ_CAPACITY_16;
  cdb[13] = 32;
  return 16;
}

/** MODE SENSE for the caching page, without block descriptors. */
export function buildCachingSense(cdb: Uint8Array): 6 {
  cdb.fill(0, 0, 6);
  cdb[0] = OP_MODE_SENSE_6;
  cdb[1] = CDB_DBD;
  cdb[2] = MODE_CACHING;
  cdb[4] = SCAN_BYTES;
  return 6;
}

/** What standard INQUIRY data say. */
export interface Inquiry {
  /** Peripheral device type, 0 for a disk; −1 where the target has no unit at this number. */
  readonly type: number;
  readonly model: string;
  readonly revision: string;
  /** Whether it takes tagged commands (CMDQUE). */
  readonly queues: boolean;
}

export function parseInquiry(data: Uint8Array): Inquiry {
  const device = data[0] ?? 0xff;
  const vendor = text(data, INQUIRY_AT_VENDOR, INQUIRY_AT_PRODUCT);
  const product = text(data, INQUIRY_AT_PRODUCT, INQUIRY_AT_REVISION);
  return {
    type: device >>> 5 === 0 ? device & 0x1f : -1,
    model: `${vendor} ${product}`.trim(),
    revision: text(data, INQUIRY_AT_REVISION, INQUIRY_AT_REVISION + 4),
    queues: ((data[INQUIRY_AT_FLAGS] ?? 0) & INQUIRY_CMDQUE) !== 0,
  };
}

export function parseSerial(data: Uint8Array): string {
  return text(data, 4, 4 + (data[3] ?? 0));
}

export interface Capacity {
  readonly sectors: number;
  readonly sectorBytes: number;
}

/** READ CAPACITY(10) data; `sectors` is 2^32 where the disk is too large for it. */
export function parseCapacity10(data: Uint8Array): Capacity {
  return { sectors: get32(data, 0) + 1, sectorBytes: get32(data, 4) };
}

export function parseCapacity16(data: Uint8Array): Capacity {
  return { sectors: get32(data, 0) * TWO_32 + get32(data, 4) + 1, sectorBytes: get32(data, 8) };
}

/** Byte 2 of the caching page in MODE SENSE(6) data without block descriptors. */
export function parseCaching(data: Uint8Array): number {
  return data[4 + (data[3] ?? 0) + 2] ?? 0;
}

/** Fixed-format sense data taken apart, [1] 4.5.3. */
export interface Sense {
  readonly key: number;
  /** Additional sense code and qualifier in one number: ASC_* of assembly/scsi/regs.ts. */
  readonly code: number;
  /** The information field, for disks an lba; −1 where it is not valid. */
  readonly information: number;
}

export function parseSense(data: Uint8Array): Sense {
  const valid = ((data[0] ?? 0) & SENSE_VALID) !== 0;
  return {
    key: (data[SENSE_AT_KEY] ?? 0) & 15,
    code: (data[SENSE_AT_ASC] ?? 0) * 0x100 + (data[SENSE_AT_ASCQ] ?? 0),
    information: valid ? get32(data, SENSE_AT_INFORMATION) : -1,
  };
}

function text(data: Uint8Array, from: number, to: number): string {
  return String.fromCharCode(...data.subarray(from, to)).trim();
}
