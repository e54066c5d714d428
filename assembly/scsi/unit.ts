// A logical unit: a disk as SCSI shows it, with what it remembers between commands. One initiator talks to
// it, as on both host adapters here, so there is one nexus: one pending unit attention, one set of sense data.
import { reserve } from '../bus/arena';
import { Disk } from '../media/media';
import { put32, put64 } from './bytes';
import {
  ASC_CAPACITY_CHANGED,
  ASC_NONE,
  ASC_RESET,
  CACHING_WCE,
  KEY_NO_SENSE,
  SENSE_AT_ASC,
  SENSE_AT_ASCQ,
  SENSE_AT_INFORMATION,
  SENSE_AT_KEY,
  SENSE_AT_LENGTH,
  SENSE_BYTES,
  SENSE_CURRENT,
  SENSE_CURRENT_DESCRIPTOR,
  SENSE_HEADER_BYTES,
  SENSE_INFORMATION_BYTES,
  SENSE_VALID,
} from './regs';

@unmanaged
export class ScsiUnit {
  /** Offset of the medium, 0 while there is none. */
  disk: u32;
  /** ASC and ASCQ of the unit attention that the next command meets, 0: none. */
  attention: u32;
  /** Sense data of the last CHECK CONDITION that nobody fetched yet. */
  senseKey: u32;
  senseCode: u32;
  senseValid: u32;
  senseInformation: u32;
  /** Non-zero after START STOP UNIT stopped it. */
  stopped: u32;
  /** Byte 2 of the caching mode page: current, saved. */
  caching: u32;
  savedCaching: u32;
  /** Non-zero while a task has the block behind this structure, or the drive's (task.ts). */
  blockBusy: u32;
  /** Non-zero while a task formats it. */
  formatting: u32;
  /** What it hangs on, as GET CONFIGURATION names it: BUS_*. */
  bus: u32;
  /** Non-zero: a virtual machine's drive, which keeps silent about its reset. */
  virtual: u32;
  /** Non-zero: like disks of old it says that it is not provisioned thinly, and knows no WRITE SAME and UNMAP. */
  thick: u32;
}

/** Physical interface standards (MMC-3, core feature). */
const BUS_SCSI: u32 = 1;
export const BUS_ATAPI: u32 = 2;
export const BUS_SERIAL: u32 = 7;

/** The largest block: what a WRITE SAME repeats lies behind the unit, or a DVD structure. */
const BLOCK_BYTES: u32 = 4096;

/** A unit without a medium; 0 when the memory is used up. */
export function createUnit(): u32 {
  const offset = reserve(offsetof<ScsiUnit>() + BLOCK_BYTES, 16);
  if (offset != 0) unitAt(offset).bus = BUS_SCSI;
  return offset;
}

/** Whether commands come in packets (ATAPI), one at a time. */
export function isPacket(u: ScsiUnit): bool {
  return u.bus != BUS_SCSI;
}

export function isDrive(u: ScsiUnit): bool {
  return unitDisk(u).optical != 0;
}

export function unitAt(offset: u32): ScsiUnit {
  return changetype<ScsiUnit>(<usize>offset);
}

export function unitDisk(u: ScsiUnit): Disk {
  return changetype<Disk>(<usize>u.disk);
}

/** Where a WRITE SAME keeps the block that it repeats, and a drive what is longer than a task's buffer. */
export function unitBlock(u: ScsiUnit): usize {
  return changetype<usize>(u) + offsetof<ScsiUnit>();
}

/** Puts a medium into the unit, or takes it away (0). */
export function insertDisk(u: ScsiUnit, disk: u32): void {
  u.disk = disk;
  u.savedCaching = disk != 0 && unitDisk(u).writeCache != 0 ? CACHING_WCE : 0;
  resetUnit(u);
}

/** Power on, a bus reset or a BUS DEVICE RESET message, once its tasks are gone (SAM-3 6.3). */
export function resetUnit(u: ScsiUnit): void {
  u.caching = u.savedCaching;
  u.stopped = 0;
  u.blockBusy = 0;
  u.formatting = 0;
  u.attention = u.virtual != 0 ? 0 : ASC_RESET;
  if (u.disk != 0) unitDisk(u).locked = 0;
  clearSense(u);
}

/** The disk has another size (SBC-3 4.7); a reset that nobody heard of yet says more. */
export function capacityChanged(u: ScsiUnit): void {
  if (u.attention == 0) u.attention = ASC_CAPACITY_CHANGED;
}

export function clearSense(u: ScsiUnit): void {
  u.senseKey = KEY_NO_SENSE;
  u.senseCode = ASC_NONE;
  u.senseValid = 0;
  u.senseInformation = 0;
}

/** Writes fixed-format sense data, SENSE_BYTES of it. */
export function putSense(at: usize, key: u32, code: u32, valid: bool, information: u32): void {
  memory.fill(at, 0, SENSE_BYTES);
  store<u8>(at, <u8>(valid ? SENSE_CURRENT | SENSE_VALID : SENSE_CURRENT));
  store<u8>(at, <u8>key, SENSE_AT_KEY);
  if (valid) put32(at + SENSE_AT_INFORMATION, information);
  store<u8>(at, SENSE_BYTES - 8, SENSE_AT_LENGTH);
  store<u8>(at, <u8>(code >>> 8), SENSE_AT_ASC);
  store<u8>(at, <u8>code, SENSE_AT_ASCQ);
}

/** Writes descriptor-format sense data (SPC-3 4.5.2); returns the bytes, SENSE_BYTES + 2 at most. */
export function putDescriptorSense(at: usize, key: u32, code: u32, valid: bool, information: u32): u32 {
  const more: u32 = valid ? SENSE_INFORMATION_BYTES : 0;
  memory.fill(at, 0, SENSE_HEADER_BYTES + SENSE_INFORMATION_BYTES);
  store<u8>(at, SENSE_CURRENT_DESCRIPTOR);
  store<u8>(at, <u8>key, 1);
  store<u8>(at, <u8>(code >>> 8), 2);
  store<u8>(at, <u8>code, 3);
  store<u8>(at, <u8>more, 7);
  if (valid) {
    // Descriptor type 0: information.
    store<u8>(at, SENSE_INFORMATION_BYTES - 2, SENSE_HEADER_BYTES + 1);
    store<u8>(at, SENSE_VALID, SENSE_HEADER_BYTES + 2);
    put64(at + SENSE_HEADER_BYTES + 4, information);
  }
  return SENSE_HEADER_BYTES + more;
}
