// The commands of an optical drive (MMC-3; references in mmc-regs.ts): which there are, what the drive's state lets
// through, and the tray. The medium is a CD or DVD of one data track.

import {
  EVENT_NEW_MEDIA,
  forgetChange,
  isMounted,
  moveTray,
  SETTLING_CHANGED,
  SETTLING_NOT_READY,
} from '../media/drive';
import { Disk } from '../media/media';
import { readWrite } from './block';
import { CLASS_ALWAYS, CLASS_MEDIUM, CLASS_UNIT, commonClass, mayBegin, startCommon } from './common';
import { getConfiguration } from './mmc-feature';
import {
  discInformation,
  dvdStructure,
  eventStatus,
  mechanismStatus,
  readToc,
  trackInformation,
} from './mmc-info';
import { driveModeSelect, driveModeSense } from './mmc-mode';
import { readCd } from './mmc-read';
import {
  ASC_BECOMING_READY,
  ASC_NO_MEDIUM,
  ASC_NO_MEDIUM_CLOSED,
  ASC_NO_MEDIUM_OPEN,
  ASC_REMOVAL_PREVENTED,
  LOAD_EJECT,
  LOAD_IMMEDIATE,
  LOAD_START,
  OP_GET_CONFIGURATION,
  OP_GET_EVENT_STATUS,
  OP_MECHANISM_STATUS,
  OP_READ_CD,
  OP_READ_CD_MSF,
  OP_READ_DISC_INFORMATION,
  OP_READ_DVD_STRUCTURE,
  OP_READ_TOC,
  OP_READ_TRACK_INFORMATION,
  OP_SET_CD_SPEED,
} from './mmc-regs';
import {
  ASC_INVALID_CDB_FIELD,
  KEY_ILLEGAL_REQUEST,
  KEY_NOT_READY,
  OP_MODE_SELECT_6,
  OP_MODE_SELECT_10,
  OP_MODE_SENSE_6,
  OP_MODE_SENSE_10,
  OP_PREVENT_ALLOW,
  OP_START_STOP_UNIT,
} from './regs';
import { cdbOf, fail, ScsiTask, unitOf } from './task';
import { unitDisk } from './unit';

/** Power conditions of START STOP UNIT that change nothing here: active, idle, standby. */
const POWER_MAX: u32 = 3;

export function startDriveCommand(t: ScsiTask, opcode: u32): void {
  const kind = classOf(opcode);
  if (!mayBegin(t, opcode, kind) || (kind == CLASS_MEDIUM && !isReady(t))) return;
  if (startCommon(t, opcode)) return;
  if (kind == CLASS_MEDIUM) startMedium(t, opcode);
  else startOther(t, opcode);
}

/**
 * Whether there is a medium that can be read. One that came is recognised while software asks for the first time: a
 * board's drive says that it becomes ready, a virtual machine's that it is empty still.
 */
function isReady(t: ScsiTask): bool {
  const disk = unitDisk(unitOf(t));
  if (!isMounted(disk)) {
    noMedium(t);
    return false;
  }
  if (disk.settling != SETTLING_NOT_READY) return true;
  disk.settling = SETTLING_CHANGED;
  fail(t, KEY_NOT_READY, unitOf(t).virtual != 0 ? ASC_NO_MEDIUM : ASC_BECOMING_READY);
  return false;
}

/** Ends a task that found no medium. */
export function noMedium(t: ScsiTask): void {
  fail(t, KEY_NOT_READY, unitDisk(unitOf(t)).open != 0 ? ASC_NO_MEDIUM_OPEN : ASC_NO_MEDIUM_CLOSED);
}

function invalidField(t: ScsiTask): void {
  fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
}

/** SYNCHRONIZE CACHE is none of them: nothing is written. */
function classOf(opcode: u32): u32 {
  const common = commonClass(opcode);
  if (common != 0) return common;
  switch (opcode) {
    case OP_GET_CONFIGURATION:
    case OP_GET_EVENT_STATUS:
      return CLASS_ALWAYS;
    case OP_MECHANISM_STATUS:
    case OP_READ_DVD_STRUCTURE:
    case OP_SET_CD_SPEED:
      return CLASS_UNIT;
    case OP_READ_CD:
    case OP_READ_CD_MSF:
    case OP_READ_TOC:
    case OP_READ_DISC_INFORMATION:
    case OP_READ_TRACK_INFORMATION:
      return CLASS_MEDIUM;
    default:
      return 0;
  }
}

function startOther(t: ScsiTask, opcode: u32): void {
  switch (opcode) {
    case OP_GET_CONFIGURATION:
      return getConfiguration(t);
    case OP_GET_EVENT_STATUS:
      return eventStatus(t);
    case OP_MODE_SENSE_6:
    case OP_MODE_SENSE_10:
      return driveModeSense(t);
    case OP_MODE_SELECT_6:
    case OP_MODE_SELECT_10:
      return driveModeSelect(t);
    case OP_START_STOP_UNIT:
      return startStop(t);
    case OP_PREVENT_ALLOW:
      unitDisk(unitOf(t)).locked = load<u8>(cdbOf(t), 4) & 1;
      return;
    case OP_MECHANISM_STATUS:
      return mechanismStatus(t);
    case OP_READ_DVD_STRUCTURE:
      return dvdStructure(t);
    default: // SET CD SPEED: any speed is a request that the drive rounds to the one it has.
      return;
  }
}

function startMedium(t: ScsiTask, opcode: u32): void {
  switch (opcode) {
    case OP_READ_CD:
    case OP_READ_CD_MSF:
      return readCd(t, opcode);
    case OP_READ_TOC:
      return readToc(t);
    case OP_READ_DISC_INFORMATION:
      return discInformation(t);
    case OP_READ_TRACK_INFORMATION:
      return trackInformation(t);
    default:
      return readWrite(t, opcode);
  }
}

/** START STOP UNIT: without LoEj it changes nothing, a medium that stopped turns again when it is read. */
function startStop(t: ScsiTask): void {
  const flags: u32 = load<u8>(cdbOf(t), 4);
  const disk = unitDisk(unitOf(t));
  if ((flags & 0x0c) != 0 || flags >>> 4 > POWER_MAX) return invalidField(t);
  if (flags >>> 4 != 0) return;
  const starts = (flags & LOAD_START) != 0;
  if ((flags & LOAD_EJECT) == 0) {
    if (starts) isReady(t);
  } else if (starts) loadTray(t, disk);
  else if (disk.open == 0 && disk.locked != 0) fail(t, KEY_ILLEGAL_REQUEST, ASC_REMOVAL_PREVENTED);
  else moveTray(disk, true);
}

/** A load that waits until the drive is ready leaves only the unit attention; a virtual machine's not even that. */
function loadTray(t: ScsiTask, disk: Disk): void {
  moveTray(disk, false);
  if (disk.settling != SETTLING_NOT_READY) return;
  if (unitOf(t).virtual != 0) {
    forgetChange(disk);
    disk.event = EVENT_NEW_MEDIA;
  } else if ((load<u8>(cdbOf(t), 1) & LOAD_IMMEDIATE) == 0) disk.settling = SETTLING_CHANGED;
}
