// GET CONFIGURATION: the features of an optical drive, in ascending order (MMC-3; references in mmc-regs.ts).
// Those of the medium are current while it is there.

import { isMounted } from '../media/drive';
import { Disk } from '../media/media';
import { get16, put16, put32 } from './bytes';
import { isDvd } from './mmc-info';
import {
  FEATURE_CD_READ,
  FEATURE_CORE,
  FEATURE_CURRENT,
  FEATURE_DVD_READ,
  FEATURE_MORPHING,
  FEATURE_MULTI_READ,
  FEATURE_PERSISTENT,
  FEATURE_POWER,
  FEATURE_PROFILES,
  FEATURE_RANDOM_READ,
  FEATURE_REMOVABLE,
  FEATURE_TIMEOUT,
  PROFILE_CD_ROM,
  PROFILE_DVD_ROM,
} from './mmc-regs';
import { ASC_INVALID_CDB_FIELD, DATA_IN, KEY_ILLEGAL_REQUEST } from './regs';
import { bufferOf, cdbOf, fail, offer, ScsiTask, unitOf } from './task';
import { unitDisk } from './unit';

const FEATURES: StaticArray<u16> = [
  0x0000, 0x0001, 0x0002, 0x0003, 0x0010, 0x001d, 0x001e, 0x001f, 0x0100, 0x0105,
];
/** What is asked for, if not all from the first on: those of them that are current, the one. */
const WANT_CURRENT: u32 = 1;
const WANT_ONE: u32 = 2;
const HEADER_BYTES: u32 = 8;
/** Blocks that a drive reads at a time: on a CD, on a DVD. */
const CD_BLOCKING: u32 = 1;
const DVD_BLOCKING: u32 = 16;
/** A tray that opens and locks; the medium can be locked in. */
const MECHANISM: u8 = 0x29;

export function getConfiguration(t: ScsiTask): void {
  const cdb = cdbOf(t);
  const want: u32 = load<u8>(cdb, 1) & 3;
  const first = get16(cdb + 2);
  if (want > WANT_ONE) return fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
  const disk = unitDisk(unitOf(t));
  const at = bufferOf(t);
  memory.fill(at, 0, HEADER_BYTES);
  if (isMounted(disk)) put16(at + 6, isDvd(disk) ? PROFILE_DVD_ROM : PROFILE_CD_ROM);
  let end = at + HEADER_BYTES;
  for (let i = 0; i < FEATURES.length; i++) {
    const feature: u32 = unchecked(FEATURES[i]);
    if (want == WANT_ONE ? feature != first : feature < first) continue;
    const next = putFeature(t, disk, end, feature);
    if (want != WANT_CURRENT || (load<u8>(end, 2) & FEATURE_CURRENT) != 0) end = next;
  }
  const bytes = <u32>(end - at);
  put32(at, bytes - 4);
  offer(t, DATA_IN, min(get16(cdb + 7), bytes));
}

/** Writes a feature descriptor; returns its end. */
function putFeature(t: ScsiTask, disk: Disk, at: usize, feature: u32): usize {
  const cd = isMounted(disk) && !isDvd(disk);
  const dvd = isMounted(disk) && isDvd(disk);
  switch (feature) {
    case FEATURE_PROFILES:
      head(at, feature, true, true, 8);
      putProfile(at + 4, PROFILE_DVD_ROM, dvd);
      putProfile(at + 8, PROFILE_CD_ROM, cd);
      break;
    case FEATURE_CORE:
      head(at, feature, true, true, 4);
      put32(at + 4, unitOf(t).bus);
      break;
    case FEATURE_MORPHING:
      head(at, feature, true, true, 4);
      break;
    case FEATURE_REMOVABLE:
      head(at, feature, true, true, 4);
      store<u8>(at, MECHANISM, 4);
      break;
    case FEATURE_RANDOM_READ:
      head(at, feature, false, cd || dvd, 8);
      put32(at + 4, (<u32>1) << disk.sectorShift);
      put16(at + 8, dvd ? DVD_BLOCKING : CD_BLOCKING);
      break;
    case FEATURE_CD_READ:
      head(at, feature, false, cd, 4);
      break;
    case FEATURE_MULTI_READ:
      head(at, feature, false, cd, 0);
      break;
    case FEATURE_DVD_READ:
      head(at, feature, false, dvd, 0);
      break;
    default:
      assert(feature == FEATURE_POWER || feature == FEATURE_TIMEOUT);
      head(at, feature, true, true, 0);
  }
  return at + 4 + load<u8>(at, 3);
}

function head(at: usize, feature: u32, persistent: bool, current: bool, bytes: u32): void {
  memory.fill(at, 0, 4 + bytes);
  put16(at, feature);
  store<u8>(at, <u8>((persistent ? FEATURE_PERSISTENT : 0) | (current ? FEATURE_CURRENT : 0)), 2);
  store<u8>(at, <u8>bytes, 3);
}

function putProfile(at: usize, profile: u32, current: bool): void {
  put16(at, profile);
  store<u8>(at, current ? 1 : 0, 2);
}
