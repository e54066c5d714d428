// Who the unit is: INQUIRY with its vital product data pages, and REPORT LUNS.
import { uniqueId } from '../bus/arena';
import {
  DISK_FIRMWARE,
  DISK_FIRMWARE_BYTES,
  DISK_MODEL,
  DISK_MODEL_BYTES,
  DISK_SERIAL,
  DISK_SERIAL_BYTES,
} from '../media/codes';
import { diskText, putDiskText } from '../media/media';
import { get16, get32, put16, put32, put64 } from './bytes';
import { INQUIRY_OPTICAL, INQUIRY_REMOVABLE } from './mmc-regs';
import {
  ASC_INVALID_CDB_FIELD,
  CDB_EVPD,
  DATA_IN,
  INQUIRY_ABSENT,
  INQUIRY_AT_DEVICE,
  INQUIRY_AT_FLAGS,
  INQUIRY_AT_PRODUCT,
  INQUIRY_AT_REVISION,
  INQUIRY_AT_VENDOR,
  INQUIRY_BYTES,
  INQUIRY_CMDQUE,
  INQUIRY_SYNC,
  INQUIRY_VERSION_SPC3,
  INQUIRY_WIDE,
  KEY_ILLEGAL_REQUEST,
  MAX_TRANSFER_BLOCKS,
  MAX_UNMAP_RANGES,
  VPD_BLOCK_LIMITS,
  VPD_CHARACTERISTICS,
  VPD_IDENTIFICATION,
  VPD_PROVISIONING,
  VPD_SERIAL,
  VPD_SUPPORTED,
} from './regs';
import { bufferOf, cdbOf, fail, offer, ScsiTask, unitOf } from './task';
import { isDrive, isPacket, unitDisk } from './unit';

/** Text in ASCII, padded to its field: "BACKPLNE", "VIRTUAL DISK    ", "1.0 ". */
const VENDOR: StaticArray<u8> = [0x42, 0x41, 0x43, 0x4b, 0x50, 0x4c, 0x4e, 0x45];
const PRODUCT: StaticArray<u8> = [
  0x56, 0x49, 0x52, 0x54, 0x55, 0x41, 0x4c, 0x20, 0x44, 0x49, 0x53, 0x4b, 0x20, 0x20, 0x20, 0x20,
];
/** "VIRTUAL CD-ROM  ". */
const DRIVE_PRODUCT: StaticArray<u8> = [
  0x56, 0x49, 0x52, 0x54, 0x55, 0x41, 0x4c, 0x20, 0x43, 0x44, 0x2d, 0x52, 0x4f, 0x4d, 0x20, 0x20,
];
const REVISION: StaticArray<u8> = [0x31, 0x2e, 0x30, 0x20];
/** "BP" and eight hexadecimal digits of the disk's number. */
const SERIAL_BYTES: u32 = 10;
const LETTER_B: u8 = 0x42;
const LETTER_P: u8 = 0x50;
/** Version descriptors: SAM-3, SPC-3, SBC-2 (SPC-3 table 84). */
const VERSIONS: StaticArray<u8> = [0x00, 0x60, 0x03, 0x00, 0x03, 0x20];
/** SAM-3, SPC-3, MMC-3. */
const DRIVE_VERSIONS: StaticArray<u8> = [0x00, 0x60, 0x03, 0x00, 0x02, 0xa0];
const AT_VERSIONS: usize = 58;
/** Pages of PAGES that a drive has. */
const DRIVE_PAGES: u32 = 3;
/** VPD_*, in ascending order. */
const PAGES: StaticArray<u8> = [0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2];

export function inquiry(t: ScsiTask): void {
  const cdb = cdbOf(t);
  const flags = load<u8>(cdb, 1);
  const page = load<u8>(cdb, 2);
  const evpd = (flags & CDB_EVPD) != 0;
  if ((flags & ~CDB_EVPD) != 0 || (!evpd && page != 0)) return invalidField(t);
  const bytes = evpd ? productPage(t, page) : standard(t);
  if (bytes == 0) return invalidField(t);
  offer(t, DATA_IN, min(get16(cdb + 3), bytes));
}

function invalidField(t: ScsiTask): void {
  fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
}

function deviceByte(t: ScsiTask): u8 {
  if (t.unit == 0) return <u8>INQUIRY_ABSENT;
  return isOptical(t) ? <u8>INQUIRY_OPTICAL : 0;
}

function isOptical(t: ScsiTask): bool {
  return t.unit != 0 && isDrive(unitOf(t));
}

function copy(to: usize, from: StaticArray<u8>): void {
  memory.copy(to, changetype<usize>(from), from.length);
}

/** SPC-3 6.4.2; on a parallel bus tasks may carry tags, and targets agree to synchronous and wide transfers. */
function standard(t: ScsiTask): u32 {
  const at = bufferOf(t);
  memory.fill(at, 0, INQUIRY_BYTES);
  store<u8>(at, deviceByte(t), INQUIRY_AT_DEVICE);
  const optical = isOptical(t);
  if (optical) store<u8>(at, INQUIRY_REMOVABLE, 1);
  store<u8>(at, INQUIRY_VERSION_SPC3, 2);
  store<u8>(at, 0x02, 3);
  store<u8>(at, INQUIRY_BYTES - 5, 4);
  if (!optical || !isPacket(unitOf(t)))
    store<u8>(at, INQUIRY_CMDQUE | INQUIRY_SYNC | INQUIRY_WIDE, INQUIRY_AT_FLAGS);
  copy(at + INQUIRY_AT_VENDOR, VENDOR);
  putProduct(t, at + INQUIRY_AT_PRODUCT);
  if (
    t.unit == 0 ||
    !putDiskText(unitDisk(unitOf(t)), DISK_FIRMWARE, DISK_FIRMWARE_BYTES, at + INQUIRY_AT_REVISION, 4)
  )
    copy(at + INQUIRY_AT_REVISION, REVISION);
  copy(at + AT_VERSIONS, optical ? DRIVE_VERSIONS : VERSIONS);
  return INQUIRY_BYTES;
}

/** Bytes of a vital product data page, 0 when there is no such page. */
function productPage(t: ScsiTask, page: u32): u32 {
  const at = bufferOf(t);
  memory.fill(at, 0, 80);
  store<u8>(at, deviceByte(t));
  store<u8>(at, <u8>page, 1);
  let bytes: u32 = 0;
  // A unit that is absent has only the page that says so.
  if (t.unit == 0 && page != VPD_SUPPORTED) return 0;
  if (isOptical(t) && page > <u32>VPD_IDENTIFICATION) return 0;
  switch (page) {
    case VPD_SUPPORTED:
      bytes = t.unit == 0 ? 1 : isOptical(t) ? DRIVE_PAGES : PAGES.length;
      memory.copy(at + 4, changetype<usize>(PAGES), bytes);
      break;
    case VPD_SERIAL:
      bytes = putSerial(t, at + 4);
      break;
    case VPD_IDENTIFICATION:
      bytes = identification(t, at + 4);
      break;
    case VPD_BLOCK_LIMITS:
      bytes = blockLimits(t, at);
      break;
    case VPD_CHARACTERISTICS:
      // Byte 4: no rotation, SBC-3 6.6.2.
      put16(at + 4, 1);
      bytes = 60;
      break;
    case VPD_PROVISIONING:
      // UNMAP, WRITE SAME 16 and 10 deallocate, what is deallocated reads as zeroes; thin, SBC-3 6.6.4.
      if (unitOf(t).thick == 0) {
        store<u8>(at, 0xe4, 5);
        store<u8>(at, 2, 6);
      }
      bytes = 4;
      break;
    default:
      return 0;
  }
  put16(at + 2, bytes);
  return bytes + 4;
}

/** The field is shorter than a model may be. */
function putProduct(t: ScsiTask, at: usize): void {
  const bytes: u32 = PRODUCT.length;
  if (t.unit == 0 || !putDiskText(unitDisk(unitOf(t)), DISK_MODEL, DISK_MODEL_BYTES, at, bytes))
    copy(at, isOptical(t) ? DRIVE_PRODUCT : PRODUCT);
}

/** The serial number, from the host or of our own; its bytes. */
function putSerial(t: ScsiTask, at: usize): u32 {
  const given = diskText(unitDisk(unitOf(t)), DISK_SERIAL);
  let length: u32 = 0;
  while (length < <u32>DISK_SERIAL_BYTES && load<u8>(given + length) != 0) length++;
  memory.copy(at, given, length);
  if (length != 0) return length;
  store<u8>(at, LETTER_B);
  store<u8>(at, LETTER_P, 1);
  const id = uniqueId(unitDisk(unitOf(t)).id);
  for (let i: u32 = 0; i < 8; i++) {
    const digit = (id >>> (28 - 4 * i)) & 15;
    store<u8>(at + 2 + i, <u8>(digit < 10 ? 0x30 + digit : 0x37 + digit));
  }
  return SERIAL_BYTES;
}

/** Designators: vendor, product and serial in ASCII; a locally assigned NAA number (SPC-3 7.6.3). */
function identification(t: ScsiTask, at: usize): u32 {
  const length = 8 + 16 + putSerial(t, at + 28);
  store<u8>(at, 2);
  store<u8>(at, 1, 1);
  store<u8>(at, <u8>length, 3);
  copy(at + 4, VENDOR);
  putProduct(t, at + 12);
  const second = at + 4 + length;
  store<u8>(second, 1);
  store<u8>(second, 3, 1);
  store<u8>(second, 8, 3);
  // NAA 3h, locally assigned: "BP" below the four bits, then the disk's number.
  put64(second + 4, ((<u64>0x3) << 60) | ((<u64>0x4250) << 32) | uniqueId(unitDisk(unitOf(t)).id));
  return 4 + length + 12;
}

/** SBC-3 6.6.3: without UNMAP its limits are zero. */
function blockLimits(t: ScsiTask, at: usize): u32 {
  put32(at + 8, MAX_TRANSFER_BLOCKS);
  if (unitOf(t).thick != 0) return 60;
  put32(at + 20, 0xffffffff);
  put32(at + 24, MAX_UNMAP_RANGES);
  put32(at + 28, 1);
  return 60;
}

/** SPC-3 6.21. A target without unit 0 reports the others all the same. */
export function reportLuns(t: ScsiTask): void {
  const cdb = cdbOf(t);
  const room = get32(cdb + 6);
  if (load<u8>(cdb, 2) > 2 || room < 16) return invalidField(t);
  const at = bufferOf(t);
  memory.fill(at, 0, 8 + 8 * 8);
  let bytes: u32 = 0;
  // Select report 1 asks for well-known units only, of which there are none.
  for (let i: u32 = 0; i < 8 && load<u8>(cdb, 2) != 1; i++) {
    if ((t.units & (1 << i)) == 0) continue;
    store<u8>(at + 8 + bytes, <u8>i, 1);
    bytes += 8;
  }
  put32(at, bytes);
  offer(t, DATA_IN, min(room, bytes + 8));
}
