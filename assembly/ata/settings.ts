// Commands that change how an ATA disk behaves (references in device.ts).
import { AtaDevice, AtaTask, abort, diskOfAta, multipleMax, succeed } from './device';
import {
  ATA_FEATURE_LOOK_AHEAD,
  ATA_FEATURE_NO_LOOK_AHEAD,
  ATA_FEATURE_NO_REVERT,
  ATA_FEATURE_NO_WRITE_CACHE,
  ATA_FEATURE_REVERT,
  ATA_FEATURE_TRANSFER_MODE,
  ATA_FEATURE_WRITE_CACHE,
} from './regs';

/** SET FEATURES ([1] 7.47): what the disk does not have is aborted. */
export function setFeatures(a: AtaDevice, t: AtaTask): u32 {
  const cache = diskOfAta(a).writeCache != 0;
  switch (t.feature & 0xff) {
    case ATA_FEATURE_WRITE_CACHE:
      if (!cache) return abort(a, t);
      a.writeCache = 1;
      break;
    case ATA_FEATURE_NO_WRITE_CACHE:
      if (!cache) return abort(a, t);
      a.writeCache = 0;
      break;
    case ATA_FEATURE_LOOK_AHEAD:
      a.lookAhead = 1;
      break;
    case ATA_FEATURE_NO_LOOK_AHEAD:
      a.lookAhead = 0;
      break;
    case ATA_FEATURE_NO_REVERT:
      a.keepSettings = 1;
      break;
    case ATA_FEATURE_REVERT:
      a.keepSettings = 0;
      break;
    case ATA_FEATURE_TRANSFER_MODE:
      if (!isTransferMode(t.count & 0xff)) return abort(a, t);
      a.transferMode = t.count & 0xff;
      break;
    default:
      return abort(a, t);
  }
  return succeed(a, t);
}

/** PIO default, PIO 3 and 4 with flow control and below, multiword DMA 0–2, Ultra DMA 0–6 ([1] table 49). */
function isTransferMode(mode: u32): bool {
  const number = mode & 7;
  switch (mode >>> 3) {
    case 0:
      return number <= 1;
    case 1:
      return number <= 4;
    case 4:
      return number <= 2;
    case 8:
      return number <= 6;
    default:
      return false;
  }
}

/** SET MULTIPLE MODE ([1] 7.50): a power of two up to word 47's maximum, or 0 for none. */
export function setMultiple(a: AtaDevice, t: AtaTask): u32 {
  const n = t.count & 0xff;
  if (n > multipleMax(a) || (n & (n - 1)) != 0) return abort(a, t);
  a.multiple = n;
  return succeed(a, t);
}

/** INITIALIZE DEVICE PARAMETERS ([3] 6.2): heads and sectors of the CHS translation. */
export function initializeParameters(a: AtaDevice, t: AtaTask): u32 {
  const sectors = t.count & 0xff;
  if (sectors == 0) return abort(a, t);
  a.heads = (t.device & 0xf) + 1;
  a.trackSectors = sectors;
  return succeed(a, t);
}
