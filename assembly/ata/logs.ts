// SMART and the general purpose logs of an ATA disk ([1] 7.52, 7.25 and annex A; references in device.ts).
import {
  ATA_QUEUES,
  AtaDevice,
  AtaTask,
  abort,
  ataBuffer,
  PROTOCOL_PIO_IN,
  STEP_BUFFER_IN,
  succeed,
} from './device';
import {
  ATA_LOG_DIRECTORY,
  ATA_LOG_QUEUE_ERROR,
  ATA_SMART_AUTOSAVE,
  ATA_SMART_DISABLE,
  ATA_SMART_ENABLE,
  ATA_SMART_KEY,
  ATA_SMART_READ_DATA,
  ATA_SMART_STATUS,
} from './regs';

const LOG_BYTES: u32 = 512;

/** READ LOG (DMA) EXT; the protocol is in the task. Both logs are one page long. */
export function readLog(a: AtaDevice, t: AtaTask): u32 {
  const address = <u32>t.lba & 0xff;
  const page = (<u32>(t.lba >> 8) & 0xff) | ((<u32>(t.lba >> 32) & 0xff) << 8);
  if (page != 0 || (t.count & 0xffff) != 1) return abort(a, t);
  const queues = (a.transport & ATA_QUEUES) != 0;
  const buffer = ataBuffer(a);
  memory.fill(buffer, 0, LOG_BYTES);
  if (address == ATA_LOG_DIRECTORY) {
    store<u16>(buffer, 1);
    if (queues) store<u16>(buffer + 2 * ATA_LOG_QUEUE_ERROR, 1);
  } else if (address == ATA_LOG_QUEUE_ERROR && queues) {
    queueErrorLog(a, buffer);
    a.queueError = 0;
  } else {
    return abort(a, t);
  }
  t.bytes = LOG_BYTES;
  return STEP_BUFFER_IN;
}

/** Log 10h: which queued command failed, and the task file that it left ([1] A.7). */
function queueErrorLog(a: AtaDevice, buffer: usize): void {
  store<u8>(buffer, <u8>a.failedTag);
  store<u8>(buffer, <u8>a.failedStatus, 2);
  store<u8>(buffer, <u8>a.failedError, 3);
  store<u16>(buffer, <u16>a.failedLba, 4);
  store<u8>(buffer, <u8>(a.failedLba >> 16), 6);
  store<u8>(buffer, <u8>a.failedDevice, 7);
  store<u16>(buffer, <u16>(a.failedLba >> 24), 8);
  store<u8>(buffer, <u8>(a.failedLba >> 40), 10);
  store<u16>(buffer, <u16>a.failedCount, 12);
  sumUp(buffer);
}

/** SMART: read data, attribute autosave, enable, disable, return status. */
export function smart(a: AtaDevice, t: AtaTask): u32 {
  const feature = t.feature & 0xff;
  if ((<u32>(t.lba >> 8) & 0xffff) != ATA_SMART_KEY) return abort(a, t);
  if (a.smart == 0 && feature != ATA_SMART_ENABLE) return abort(a, t);
  switch (feature) {
    case ATA_SMART_READ_DATA:
      return smartData(a, t);
    case ATA_SMART_ENABLE:
      a.smart = 1;
      return succeed(a, t);
    case ATA_SMART_DISABLE:
      a.smart = 0;
      return succeed(a, t);
    case ATA_SMART_AUTOSAVE:
    // The threshold is not exceeded: the key comes back as it was sent.
    case ATA_SMART_STATUS:
      return succeed(a, t);
    default:
      return abort(a, t);
  }
}

/** A disk without attributes whose off-line collection never ran ([1] 7.52.6). */
function smartData(a: AtaDevice, t: AtaTask): u32 {
  const buffer = ataBuffer(a);
  memory.fill(buffer, 0, LOG_BYTES);
  store<u8>(buffer, 1);
  // Saves data before power goes, autosaves.
  store<u16>(buffer, 0x0003, 368);
  sumUp(buffer);
  t.protocol = PROTOCOL_PIO_IN;
  t.bytes = LOG_BYTES;
  return STEP_BUFFER_IN;
}

/** Makes the page's bytes add up to zero. */
function sumUp(buffer: usize): void {
  let sum: u32 = 0;
  for (let i: u32 = 0; i < LOG_BYTES - 1; i++) sum += load<u8>(buffer + i);
  store<u8>(buffer + LOG_BYTES - 1, <u8>(0 - sum));
}
