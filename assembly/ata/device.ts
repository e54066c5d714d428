// An ATA disk, or an ATAPI drive (packet.ts), whatever cable it hangs on: its task file, its settings and one AtaTask
// for each command in it. A transport (AHCI, PIIX IDE) fills a task, calls ataCommand() and does what the returned
// STEP_* asks for until it is STEP_END; the task file then holds the outcome. The transport moves all data, so that
// scatter lists stay its own business.
//
// [1] AT Attachment 8 - ATA/ATAPI Command Set (ATA8-ACS), T13/1699-D revision 6a
// [2] Serial ATA revision 2.6: 13 (queued commands), 10.3 (signatures)
// [3] ATA/ATAPI-7 volume 1, T13/1532D: CHS translation and the commands that ATA8-ACS dropped
// [4] ATA/ATAPI-5, T13/1321D: READ NATIVE MAX ADDRESS in CHS
import { reserve } from '../bus/arena';
import { Disk } from '../media/media';
import { attachDrive, isPacketDevice, resetPacket } from './packet';
import {
  ATA_BLOCK_MAX,
  ATA_DEVICE_LBA,
  ATA_DIAGNOSTIC_PASSED,
  ATA_ERROR_ABRT,
  ATA_POWER_ACTIVE,
  ATA_SIGNATURE_PACKET,
  ATA_STATUS_ERR,
  ATA_STATUS_GOOD,
} from './regs';

/** The command is over: the task file holds its outcome. */
export const STEP_END: u32 = 0;
/** A medium is needed: ataBegin(), then at EVENT_MEDIA_DATA the data, then ataMediaDone(). */
export const STEP_MEDIA: u32 = 1;
/** `bytes` bytes of ataBuffer() go to the host; the command is over with that. */
export const STEP_BUFFER_IN: u32 = 2;
/** `bytes` bytes come from the host into ataBuffer(), then ataBufferFilled(). */
export const STEP_BUFFER_OUT: u32 = 3;
/** No answer will come: the device sleeps until it is reset. */
export const STEP_SILENT: u32 = 4;

/** A packet of ATA_PACKET_BYTES bytes is due at packetPlace(), then startPacket() (packet.ts). */
export const STEP_PACKET: u32 = 5;
/** A packet waits for a medium that it has asked itself: packetMedia(). */
export const STEP_WAIT: u32 = 6;
/** `bytes` bytes of a packet are due: scsiMove(), scsiMoved(), scsiDataEnd(), then packetStep(). */
export const STEP_DATA: u32 = 7;

/** How a command's data travels ([1] 5, [2] 13.6). */
export const PROTOCOL_NONE: u32 = 0;
export const PROTOCOL_PIO_IN: u32 = 1;
export const PROTOCOL_PIO_OUT: u32 = 2;
export const PROTOCOL_DMA_IN: u32 = 3;
export const PROTOCOL_DMA_OUT: u32 = 4;
export const PROTOCOL_QUEUED_IN: u32 = 5;
export const PROTOCOL_QUEUED_OUT: u32 = 6;

/** Power mode beside the ATA_POWER_* that CHECK POWER MODE can answer. */
export const POWER_SLEEP: u32 = 1;

/** Bytes behind an AtaDevice for what it sends and takes itself: a full list of ranges is the longest. */
export const ATA_BUFFER_BYTES: u32 = 4096;

/** The CHS translation of a disk that nobody gave another one, and the cylinders that it has at most ([3] 6.2.1). */
export const HEADS_BY_DEFAULT: u32 = 16;
export const TRACK_SECTORS_BY_DEFAULT: u32 = 63;
const CYLINDERS_MAX: u64 = 16383;

/** What the transport is. */
export const ATA_SERIAL: u32 = 1;
/** The transport can do FPDMA. */
export const ATA_QUEUES: u32 = 2;
/** 28-bit commands take all 16 bits of the count that a Register FIS carries. */
export const ATA_WIDE_COUNTS: u32 = 4;
/** DATA SET MANAGEMENT takes the last byte of the count alone: it was written once. */
export const ATA_NARROW_RANGES: u32 = 8;
/** A drive is a virtual machine's: it is silent about its reset, and empty until a new medium was asked for once. */
export const ATA_VIRTUAL: u32 = 16;

@unmanaged
export class AtaDevice {
  /** Offset of the medium, 0: no device here. */
  disk: u32;
  /** Offset of the Packet of a device that takes packets (packet.ts); it stays when that goes. */
  packet: u32;
  /** ATA_SERIAL, ATA_QUEUES, ATA_WIDE_COUNTS, ATA_NARROW_RANGES. */
  transport: u32;
  /** Serial ATA generation of the link, as IDENTIFY word 77 reports it. */
  generation: u32;

  // The task file as the host may read it.
  status: u32;
  error: u32;
  count: u32;
  device: u32;
  lba: u64;

  // Settings that commands change.
  /** Sectors of a block of the MULTIPLE commands, 0: not set. */
  multiple: u32;
  writeCache: u32;
  lookAhead: u32;
  smart: u32;
  /** SET FEATURES 66h: software resets leave the settings alone. */
  keepSettings: u32;
  /** Mode number of SET FEATURES 03h. */
  transferMode: u32;
  heads: u32;
  trackSectors: u32;
  power: u32;
  /** Non-zero between the two halves of a software reset that the transport delivers in two frames. */
  resetting: u32;

  // Queued commands ([2] 13.6).
  /** Tags that the device holds. */
  queued: u32;
  /** Non-zero from an error in the queue until log 10h is read. */
  queueError: u32;
  /** What log 10h says: the tag, or 80h for a command that was not queued. */
  failedTag: u32;
  failedStatus: u32;
  failedError: u32;
  failedCount: u32;
  failedDevice: u32;
  failedLba: u64;
}

/** One command from the moment when the device takes it. */
@unmanaged
export class AtaTask {
  // As the transport took it off the wire: 8-bit registers with their previous contents above them.
  command: u32;
  feature: u32;
  count: u32;
  device: u32;
  lba: u64;

  protocol: u32;
  /** MEDIA_* of the request that is next or under way, its first sector, and the sectors left. */
  operation: u32;
  sector: u64;
  sectors: u32;
  /** Bytes of a data request block (PIO): the last one may be shorter. */
  block: u32;
  /** Bytes of data in all. */
  bytes: u32;
  /** Queued commands: the tag. */
  tag: u32;
  /** Non-zero: the medium is flushed before the command ends. */
  flush: u32;
  /** DATA SET MANAGEMENT: the next entry of the list. */
  range: u32;
  /** Offset of the medium's request under way, 0: none. The transport keeps it. */
  request: u32;
}

/** Reserves a device with no medium; 0 when the memory is used up. */
export function createAta(transport: u32): u32 {
  const offset = reserve(offsetof<AtaDevice>() + ATA_BUFFER_BYTES, 16);
  if (offset == 0) return 0;
  const a = changetype<AtaDevice>(<usize>offset);
  a.transport = transport;
  ataPowerOn(a);
  return offset;
}

/** Where data lies that the device itself makes or takes. */
export function ataBuffer(a: AtaDevice): usize {
  return changetype<usize>(a) + offsetof<AtaDevice>();
}

export function diskOfAta(a: AtaDevice): Disk {
  return changetype<Disk>(<usize>a.disk);
}

/** Most sectors of a block of the MULTIPLE commands: IDENTIFY word 47. */
export function multipleMax(a: AtaDevice): u32 {
  return ATA_BLOCK_MAX >>> diskOfAta(a).sectorShift;
}

/** Power-on, and COMRESET or RESET-: every setting is the default one ([1] 7.47). */
export function ataPowerOn(a: AtaDevice): void {
  a.keepSettings = 0;
  a.resetting = 0;
  ataSoftReset(a);
  a.smart = 1;
  a.writeCache = 1;
  a.lookAhead = 1;
  a.transferMode = 0;
  if (isPacketDevice(a)) resetPacket(a);
}

/** Puts a disk or a drive into the device, 0: takes it out; false when there is no memory. The transport resets it. */
export function attachAta(a: AtaDevice, disk: u32): bool {
  a.disk = 0;
  if (disk != 0 && changetype<Disk>(<usize>disk).optical != 0 && !attachDrive(a, disk)) return false;
  a.disk = disk;
  return true;
}

/**
 * Software reset: the queue is forgotten, the device awake, and the signature in the task file ([2] 10.3). The
 * transport has dropped every request before.
 */
export function ataSoftReset(a: AtaDevice): void {
  a.queued = 0;
  a.queueError = 0;
  a.power = ATA_POWER_ACTIVE;
  if (a.keepSettings == 0) {
    a.multiple = 0;
    a.writeCache = 1;
    a.lookAhead = 1;
  }
  a.heads = HEADS_BY_DEFAULT;
  a.trackSectors = TRACK_SECTORS_BY_DEFAULT;
  setSignature(a);
}

/**
 * Device signature, with the diagnostic code "passed" ([1] 7.9.4). A device that takes packets is not ready yet
 * ([3], signature).
 */
export function setSignature(a: AtaDevice): void {
  const packet = isPacketDevice(a);
  a.status = packet ? 0 : ATA_STATUS_GOOD;
  a.error = ATA_DIAGNOSTIC_PASSED;
  a.count = 1;
  a.lba = packet ? ATA_SIGNATURE_PACKET : 1;
  a.device = 0;
}

/** A good status over what a command was sent with, and no trace of what ended before it. */
export function showTask(a: AtaDevice, t: AtaTask): void {
  a.status = ATA_STATUS_GOOD;
  a.error = 0;
  a.count = t.count;
  a.lba = t.lba;
  a.device = t.device;
}

/** Ends a command with what it was sent with in the task file. */
export function succeed(a: AtaDevice, t: AtaTask): u32 {
  showTask(a, t);
  a.queued &= isQueued(t) ? ~((<u32>1) << t.tag) : ~(<u32>0);
  return STEP_END;
}

/**
 * Ends a command with `error`, and `extra` bits beside ERR in the status. An error among queued commands ends
 * them all; the device then wants log 10h to be read before it takes another ([2] 13.6.2).
 */
export function fail(a: AtaDevice, t: AtaTask, error: u32, extra: u32): u32 {
  succeed(a, t);
  a.status |= ATA_STATUS_ERR | extra;
  a.error = error;
  if (a.queued != 0 || isQueued(t)) {
    a.queued = 0;
    a.queueError = 1;
    a.failedTag = isQueued(t) ? t.tag : 0x80;
    a.failedStatus = a.status;
    a.failedError = error;
    a.failedCount = t.count;
    a.failedDevice = t.device;
    a.failedLba = t.lba;
  }
  return STEP_END;
}

export function abort(a: AtaDevice, t: AtaTask): u32 {
  return fail(a, t, ATA_ERROR_ABRT, 0);
}

/** Cylinders of a disk of `sectors` in the translation by default. */
export function cylindersByDefault(sectors: u64): u32 {
  return <u32>min(sectors / (HEADS_BY_DEFAULT * TRACK_SECTORS_BY_DEFAULT), CYLINDERS_MAX);
}

/** The task file's address of `sector` as cylinder, head and sector, with that translation. */
export function setChs(a: AtaDevice, t: AtaTask, sector: u64, heads: u32, trackSectors: u32): void {
  const track = sector / trackSectors;
  a.lba = ((track / heads) << 8) | ((sector % trackSectors) + 1);
  a.device = (t.device & 0xf0) | <u32>(track % heads);
}

/** As fail(), with the sector where it happened in the task file and in the log. */
export function failAtSector(a: AtaDevice, t: AtaTask, sector: u64, error: u32, extra: u32): u32 {
  fail(a, t, error, extra);
  if (isChs(t)) {
    setChs(a, t, sector, a.heads, a.trackSectors);
  } else if (isExtended(t)) {
    a.lba = sector;
  } else {
    a.lba = sector & 0xffffff;
    a.device = (t.device & 0xf0) | (<u32>(sector >> 24) & 0xf);
  }
  a.failedLba = a.lba;
  return STEP_END;
}

export function isQueued(t: AtaTask): bool {
  return t.protocol >= PROTOCOL_QUEUED_IN;
}

/** Whether data goes to the host. */
export function toHost(t: AtaTask): bool {
  return t.protocol == PROTOCOL_PIO_IN || t.protocol == PROTOCOL_DMA_IN || t.protocol == PROTOCOL_QUEUED_IN;
}

/** Commands with 48-bit addresses and 16-bit counts; annex B gives them the codes 24h–3Fh, 42h–47h, 60h, 61h. */
export function isExtended(t: AtaTask): bool {
  const c = t.command;
  return (
    (c >= 0x24 && c < 0x30) ||
    (c >= 0x34 && c < 0x40) ||
    (c >= 0x42 && c < 0x70) ||
    c == 0xce ||
    c == 0xea ||
    c == 0x06
  );
}

export function isChs(t: AtaTask): bool {
  return !isExtended(t) && (t.device & ATA_DEVICE_LBA) == 0;
}

/** First sector that a read, write or verify names; all ones where a CHS address names none ([3] 6.2). */
export function firstSector(a: AtaDevice, t: AtaTask): u64 {
  if (isExtended(t)) return t.lba & 0xffffffffffff;
  if (!isChs(t)) return (t.lba & 0xffffff) | ((<u64>(t.device & 0xf)) << 24);
  const sector = t.lba & 0xff;
  const cylinder = (t.lba >> 8) & 0xffff;
  const head = <u64>(t.device & 0xf);
  if (sector == 0 || sector > <u64>a.trackSectors || head >= <u64>a.heads) return u64.MAX_VALUE;
  return (cylinder * a.heads + head) * a.trackSectors + sector - 1;
}
