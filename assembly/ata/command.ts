// The commands of an ATA disk: what each asks for, and what follows when a step is done (references in device.ts).
import { Device } from '../bus/device';
import {
  MEDIA_FLUSH,
  MEDIA_OK,
  MEDIA_RANGE,
  MEDIA_READ,
  MEDIA_READ_ONLY,
  MEDIA_VERIFY,
  MEDIA_WRITE,
} from '../media/codes';
import { beginRequest, Request } from '../media/media';
import {
  ATA_QUEUES,
  ATA_WIDE_COUNTS,
  AtaDevice,
  AtaTask,
  abort,
  cylindersByDefault,
  diskOfAta,
  fail,
  failAtSector,
  firstSector,
  HEADS_BY_DEFAULT,
  isChs,
  isExtended,
  POWER_SLEEP,
  PROTOCOL_DMA_IN,
  PROTOCOL_DMA_OUT,
  PROTOCOL_NONE,
  PROTOCOL_PIO_IN,
  PROTOCOL_PIO_OUT,
  PROTOCOL_QUEUED_IN,
  PROTOCOL_QUEUED_OUT,
  STEP_BUFFER_IN,
  STEP_END,
  STEP_MEDIA,
  STEP_SILENT,
  setChs,
  setSignature,
  succeed,
  TRACK_SECTORS_BY_DEFAULT,
} from './device';
import { buildIdentify } from './identify';
import { readLog, smart } from './logs';
import { isPacketDevice, packetCommand } from './packet';
import { power, powerOrAbort } from './power';
import {
  ATA_CHECK_POWER_OLD,
  ATA_DATA_SET_MANAGEMENT,
  ATA_DEVICE_FUA,
  ATA_DEVICE_RESET,
  ATA_ERROR_ABRT,
  ATA_ERROR_IDNF,
  ATA_ERROR_UNC,
  ATA_EXECUTE_DIAGNOSTIC,
  ATA_FLUSH_CACHE,
  ATA_FLUSH_CACHE_EXT,
  ATA_IDENTIFY,
  ATA_IDENTIFY_PACKET,
  ATA_IDLE_IMMEDIATE_OLD,
  ATA_IDLE_OLD,
  ATA_INITIALIZE_PARAMETERS,
  ATA_LBA28_MAX,
  ATA_LOG_QUEUE_ERROR,
  ATA_PACKET,
  ATA_POWER_ACTIVE,
  ATA_READ_DMA,
  ATA_READ_DMA_EXT,
  ATA_READ_DMA_ONCE,
  ATA_READ_FPDMA_QUEUED,
  ATA_READ_LOG_DMA_EXT,
  ATA_READ_LOG_EXT,
  ATA_READ_MULTIPLE,
  ATA_READ_MULTIPLE_EXT,
  ATA_READ_NATIVE_MAX,
  ATA_READ_NATIVE_MAX_EXT,
  ATA_READ_SECTORS,
  ATA_READ_SECTORS_EXT,
  ATA_READ_SECTORS_ONCE,
  ATA_READ_VERIFY,
  ATA_READ_VERIFY_EXT,
  ATA_READ_VERIFY_ONCE,
  ATA_RECALIBRATE,
  ATA_SEEK,
  ATA_SET_FEATURES,
  ATA_SET_MULTIPLE,
  ATA_SLEEP_OLD,
  ATA_SMART,
  ATA_STANDBY_IMMEDIATE_OLD,
  ATA_STANDBY_OLD,
  ATA_STATUS_DF,
  ATA_WRITE_DMA,
  ATA_WRITE_DMA_EXT,
  ATA_WRITE_DMA_FUA_EXT,
  ATA_WRITE_DMA_ONCE,
  ATA_WRITE_FPDMA_QUEUED,
  ATA_WRITE_MULTIPLE,
  ATA_WRITE_MULTIPLE_EXT,
  ATA_WRITE_MULTIPLE_FUA_EXT,
  ATA_WRITE_SECTORS,
  ATA_WRITE_SECTORS_EXT,
  ATA_WRITE_SECTORS_ONCE,
} from './regs';
import { initializeParameters, setFeatures, setMultiple } from './settings';
import { nextRange, takeRanges } from './trim';

/** Takes the command in `t`; returns the step that comes first. */
export function ataCommand(a: AtaDevice, t: AtaTask): u32 {
  t.protocol = PROTOCOL_NONE;
  t.operation = MEDIA_FLUSH;
  t.sector = 0;
  t.sectors = 0;
  t.block = 512;
  t.bytes = 0;
  t.flush = 0;
  t.range = 0;
  t.request = 0;
  const packet = isPacketDevice(a);
  // DEVICE RESET wakes a device, too ([3], DEVICE RESET).
  if (a.power == POWER_SLEEP && !(packet && t.command == ATA_DEVICE_RESET)) return STEP_SILENT;
  if (packet) return packetCommand(a, t);
  const queued = t.command == ATA_READ_FPDMA_QUEUED || t.command == ATA_WRITE_FPDMA_QUEUED;
  if (queued) return queue(a, t);
  // Anything else among queued commands is an error, and ends them ([2] 13.6.2).
  if (a.queued != 0) return abort(a, t);
  if (a.queueError != 0 && !readsQueueLog(t)) return abort(a, t);
  const c = t.command;
  if (c >= 0x20 && c < 0x60) return transferExtended(a, t);
  if (c >= 0xc4 && c <= 0xce && c != ATA_SET_MULTIPLE) return transferBasic(a, t);
  if (c < 0xe0) return control(a, t);
  return powerAndIdentity(a, t);
}

function readsQueueLog(t: AtaTask): bool {
  const reads = t.command == ATA_READ_LOG_EXT || t.command == ATA_READ_LOG_DMA_EXT;
  return reads && (<u32>t.lba & 0xff) == ATA_LOG_QUEUE_ERROR;
}

/** READ and WRITE FPDMA QUEUED: the count is in the feature field, the tag in bits 7:3 of the count ([1] 7.23). */
function queue(a: AtaDevice, t: AtaTask): u32 {
  t.tag = (t.count >>> 3) & 31;
  if ((a.transport & ATA_QUEUES) == 0 || a.queueError != 0) return abort(a, t);
  t.protocol = t.command == ATA_READ_FPDMA_QUEUED ? PROTOCOL_QUEUED_IN : PROTOCOL_QUEUED_OUT;
  // A tag that is in use ends all of them.
  if ((a.queued & (1 << t.tag)) != 0) return abort(a, t);
  t.sectors = t.feature == 0 ? 65536 : t.feature;
  const step = transfer(a, t, t.protocol, (t.device & ATA_DEVICE_FUA) != 0);
  if (step == STEP_MEDIA) a.queued |= 1 << t.tag;
  return step;
}

/** Codes 20h to 5Fh. */
function transferExtended(a: AtaDevice, t: AtaTask): u32 {
  switch (t.command) {
    case ATA_READ_SECTORS:
    case ATA_READ_SECTORS_ONCE:
    case ATA_READ_SECTORS_EXT:
      return counted(a, t, PROTOCOL_PIO_IN, false);
    case ATA_WRITE_SECTORS:
    case ATA_WRITE_SECTORS_ONCE:
    case ATA_WRITE_SECTORS_EXT:
      return counted(a, t, PROTOCOL_PIO_OUT, false);
    case ATA_READ_MULTIPLE_EXT:
      return multiple(a, t, PROTOCOL_PIO_IN, false);
    case ATA_WRITE_MULTIPLE_EXT:
      return multiple(a, t, PROTOCOL_PIO_OUT, false);
    case ATA_READ_DMA_EXT:
      return counted(a, t, PROTOCOL_DMA_IN, false);
    case ATA_WRITE_DMA_EXT:
      return counted(a, t, PROTOCOL_DMA_OUT, false);
    case ATA_WRITE_DMA_FUA_EXT:
      return counted(a, t, PROTOCOL_DMA_OUT, true);
    case ATA_READ_VERIFY:
    case ATA_READ_VERIFY_ONCE:
    case ATA_READ_VERIFY_EXT:
      return counted(a, t, PROTOCOL_NONE, false);
    case ATA_READ_NATIVE_MAX_EXT:
      return nativeMax(a, t);
    case ATA_READ_LOG_EXT:
      t.protocol = PROTOCOL_PIO_IN;
      return readLog(a, t);
    case ATA_READ_LOG_DMA_EXT:
      t.protocol = PROTOCOL_DMA_IN;
      return readLog(a, t);
    default:
      return abort(a, t);
  }
}

/** Codes C4h to CEh. */
function transferBasic(a: AtaDevice, t: AtaTask): u32 {
  switch (t.command) {
    case ATA_READ_MULTIPLE:
      return multiple(a, t, PROTOCOL_PIO_IN, false);
    case ATA_WRITE_MULTIPLE:
      return multiple(a, t, PROTOCOL_PIO_OUT, false);
    case ATA_WRITE_MULTIPLE_FUA_EXT:
      return multiple(a, t, PROTOCOL_PIO_OUT, true);
    case ATA_READ_DMA:
    case ATA_READ_DMA_ONCE:
      return counted(a, t, PROTOCOL_DMA_IN, false);
    case ATA_WRITE_DMA:
    case ATA_WRITE_DMA_ONCE:
      return counted(a, t, PROTOCOL_DMA_OUT, false);
    default:
      return abort(a, t);
  }
}

/** What is left below E0h. */
function control(a: AtaDevice, t: AtaTask): u32 {
  const family = t.command & 0xf0;
  if (family == ATA_RECALIBRATE) return succeed(a, t);
  if (family == ATA_SEEK)
    return inRange(a, firstSector(a, t), 1) ? succeed(a, t) : fail(a, t, ATA_ERROR_IDNF, 0);
  switch (t.command) {
    case ATA_DATA_SET_MANAGEMENT:
      return takeRanges(a, t);
    case ATA_EXECUTE_DIAGNOSTIC:
      setSignature(a);
      return STEP_END;
    case ATA_INITIALIZE_PARAMETERS:
      return initializeParameters(a, t);
    case ATA_DEVICE_RESET:
    case ATA_PACKET:
    case ATA_IDENTIFY_PACKET:
      return refusePacket(a, t);
    case ATA_SMART:
      return smart(a, t);
    case ATA_SET_MULTIPLE:
      return setMultiple(a, t);
    case ATA_STANDBY_IMMEDIATE_OLD:
    case ATA_STANDBY_OLD:
    case ATA_IDLE_IMMEDIATE_OLD:
    case ATA_IDLE_OLD:
    case ATA_CHECK_POWER_OLD:
    case ATA_SLEEP_OLD:
      return power(a, t);
    default:
      return abort(a, t);
  }
}

/** Codes E0h to FFh. The security commands (F1h to F6h) are not there: a disk without that feature set. */
function powerAndIdentity(a: AtaDevice, t: AtaTask): u32 {
  switch (t.command) {
    case ATA_FLUSH_CACHE:
    case ATA_FLUSH_CACHE_EXT:
      return STEP_MEDIA;
    case ATA_IDENTIFY:
      buildIdentify(a);
      t.protocol = PROTOCOL_PIO_IN;
      t.bytes = 512;
      return STEP_BUFFER_IN;
    case ATA_SET_FEATURES:
      return setFeatures(a, t);
    case ATA_READ_NATIVE_MAX:
      return nativeMax(a, t);
    default:
      return powerOrAbort(a, t);
  }
}

/** A transfer whose count is in the count field, where 0 means as many as the field cannot say. */
function counted(a: AtaDevice, t: AtaTask, protocol: u32, fua: bool): u32 {
  const wide = isExtended(t);
  const n = t.count & (wide || (a.transport & ATA_WIDE_COUNTS) != 0 ? 0xffff : 0xff);
  t.sectors = n != 0 ? n : wide ? 65536 : 256;
  return transfer(a, t, protocol, fua);
}

function multiple(a: AtaDevice, t: AtaTask, protocol: u32, fua: bool): u32 {
  if (a.multiple == 0) return abort(a, t);
  const step = counted(a, t, protocol, fua);
  t.block *= a.multiple;
  return step;
}

function transfer(a: AtaDevice, t: AtaTask, protocol: u32, fua: bool): u32 {
  const disk = diskOfAta(a);
  const sector = firstSector(a, t);
  t.protocol = protocol;
  if (!inRange(a, sector, t.sectors)) return fail(a, t, ATA_ERROR_IDNF, 0);
  a.power = ATA_POWER_ACTIVE;
  t.sector = sector;
  if (protocol == PROTOCOL_NONE) {
    t.operation = MEDIA_VERIFY;
    return STEP_MEDIA;
  }
  t.bytes = t.sectors << disk.sectorShift;
  t.block = 1 << disk.sectorShift;
  const reads = protocol == PROTOCOL_PIO_IN || protocol == PROTOCOL_DMA_IN || protocol == PROTOCOL_QUEUED_IN;
  t.operation = reads ? MEDIA_READ : MEDIA_WRITE;
  t.flush = !reads && disk.writeCache != 0 && (fua || a.writeCache == 0) ? 1 : 0;
  return STEP_MEDIA;
}

function inRange(a: AtaDevice, sector: u64, sectors: u32): bool {
  const all = diskOfAta(a).sectors;
  return sector < all && all - sector >= sectors;
}

/**
 * READ NATIVE MAX ADDRESS (EXT): the last sector, or as much of it as 28 bits say; without the LBA bit the last one of the
 * translation by default, whatever translation was asked for since ([4] 8.33).
 */
function nativeMax(a: AtaDevice, t: AtaTask): u32 {
  const sectors = diskOfAta(a).sectors;
  succeed(a, t);
  if (isExtended(t)) a.lba = sectors - 1;
  else if (isChs(t)) {
    const whole = <u64>cylindersByDefault(sectors) * (HEADS_BY_DEFAULT * TRACK_SECTORS_BY_DEFAULT);
    setChs(a, t, (whole != 0 ? whole : sectors) - 1, HEADS_BY_DEFAULT, TRACK_SECTORS_BY_DEFAULT);
  } else {
    const small = <u32>min(sectors - 1, <u64>ATA_LBA28_MAX);
    a.lba = small & 0xffffff;
    a.device = (t.device & 0xf0) | (small >>> 24);
  }
  return STEP_END;
}

/** A disk answers the commands of packet devices with its own signature, and aborts them ([1] 7.16.3). */
function refusePacket(a: AtaDevice, t: AtaTask): u32 {
  setSignature(a);
  t.count = 1;
  t.lba = 1;
  return fail(a, t, ATA_ERROR_ABRT, 0);
}

/** Begins the medium's part of a STEP_MEDIA, at most `sectors` sectors of it. Null: no request is free now. */
export function ataBegin(d: Device, a: AtaDevice, t: AtaTask, sectors: u32, tag: u32): Request | null {
  return beginRequest(d, diskOfAta(a), t.operation, t.sector, min(sectors, t.sectors), tag);
}

/** Whether the medium's request under way moves data. */
export function movesData(t: AtaTask): bool {
  return t.operation == MEDIA_READ || t.operation == MEDIA_WRITE;
}

/** The medium is done with `r`, whose outcome is `status`; returns the next step. The caller gives `r` back. */
export function ataMediaDone(a: AtaDevice, t: AtaTask, r: Request, status: u32): u32 {
  if (status != MEDIA_OK) return mediaError(a, t, r, status);
  if (t.operation != MEDIA_FLUSH) {
    t.sector += r.sectors;
    t.sectors -= r.sectors;
    if (t.sectors != 0) return STEP_MEDIA;
    if (t.command == ATA_DATA_SET_MANAGEMENT && nextRange(a, t)) return STEP_MEDIA;
  }
  if (t.flush != 0) {
    t.flush = 0;
    t.operation = MEDIA_FLUSH;
    t.sector = 0;
    t.sectors = 0;
    return STEP_MEDIA;
  }
  return succeed(a, t);
}

/** Reads name the first bad sector as uncorrectable; writes that the medium lost are a device fault. */
function mediaError(a: AtaDevice, t: AtaTask, r: Request, status: u32): u32 {
  if (status == MEDIA_READ_ONLY || t.operation == MEDIA_FLUSH) return abort(a, t);
  if (status == MEDIA_RANGE) return failAtSector(a, t, r.errorSector, ATA_ERROR_IDNF, 0);
  const reads = t.operation == MEDIA_READ || t.operation == MEDIA_VERIFY;
  if (reads) return failAtSector(a, t, r.errorSector, ATA_ERROR_UNC, 0);
  return failAtSector(a, t, r.errorSector, ATA_ERROR_ABRT, ATA_STATUS_DF);
}
