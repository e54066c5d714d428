// What a logical unit does whatever it is, a disk or an optical drive: how long its descriptor blocks are, what stops a
// command before it begins, and the commands that both kinds have and do alike.
import { SETTLING_CHANGED, SETTLING_NONE } from '../media/drive';
import { readCapacity10, seek, verify } from './block';
import { inquiry, reportLuns } from './inquiry';
import { ASC_MEDIUM_CHANGED } from './mmc-regs';
import {
  ASC_FORMATTING,
  ASC_INVALID_CDB_FIELD,
  ASC_INVALID_OPCODE,
  CDB_DESC,
  CONTROL_REFUSED,
  DATA_IN,
  KEY_ILLEGAL_REQUEST,
  KEY_NOT_READY,
  KEY_UNIT_ATTENTION,
  OP_INQUIRY,
  OP_MODE_SELECT_6,
  OP_MODE_SELECT_10,
  OP_MODE_SENSE_6,
  OP_MODE_SENSE_10,
  OP_PREVENT_ALLOW,
  OP_READ_10,
  OP_READ_12,
  OP_READ_CAPACITY_10,
  OP_RELEASE_6,
  OP_RELEASE_10,
  OP_REPORT_LUNS,
  OP_REQUEST_SENSE,
  OP_RESERVE_6,
  OP_RESERVE_10,
  OP_SEEK_10,
  OP_SEND_DIAGNOSTIC,
  OP_START_STOP_UNIT,
  OP_TEST_UNIT_READY,
  OP_VERIFY_10,
  SENSE_BYTES,
} from './regs';
import { bufferOf, cdbOf, fail, offer, ScsiTask, unitOf } from './task';
import { clearSense, putDescriptorSense, putSense, unitDisk } from './unit';

/** A command that any state of the unit lets through. */
export const CLASS_ALWAYS: u32 = 1;
/** A command that a unit attention stops. */
export const CLASS_UNIT: u32 = 2;
/** A command that needs a medium: a disk's has to turn, a drive's to be there. */
export const CLASS_MEDIUM: u32 = 3;

/** Bytes of a descriptor block by its group code, SPC-3 4.3.2; 0 for the groups that have no fixed length. */
export function cdbLength(opcode: u32): u32 {
  switch (opcode >>> 5) {
    case 0:
      return 6;
    case 1:
    case 2:
      return 10;
    case 4:
      return 16;
    case 5:
      return 12;
    default:
      return 0;
  }
}

/** Class of a command that every unit knows; 0: there are units that do not. */
export function commonClass(opcode: u32): u32 {
  switch (opcode) {
    case OP_INQUIRY:
    case OP_REPORT_LUNS:
    case OP_REQUEST_SENSE:
      return CLASS_ALWAYS;
    case OP_MODE_SELECT_6:
    case OP_MODE_SELECT_10:
    case OP_MODE_SENSE_6:
    case OP_MODE_SENSE_10:
    case OP_RESERVE_6:
    case OP_RESERVE_10:
    case OP_RELEASE_6:
    case OP_RELEASE_10:
    case OP_START_STOP_UNIT:
    case OP_SEND_DIAGNOSTIC:
    case OP_PREVENT_ALLOW:
      return CLASS_UNIT;
    case OP_TEST_UNIT_READY:
    case OP_READ_10:
    case OP_READ_12:
    case OP_VERIFY_10:
    case OP_SEEK_10:
    case OP_READ_CAPACITY_10:
      return CLASS_MEDIUM;
    default:
      return 0;
  }
}

/**
 * Whether a command of class `kind`, 0 for one that the unit does not know, may begin; else the task is over. A unit
 * attention comes before the operation code is looked at: an unknown one meets it too (SAM-3 5.9.7).
 */
export function mayBegin(t: ScsiTask, opcode: u32, kind: u32): bool {
  if (kind != CLASS_ALWAYS && meetsAttention(t)) return false;
  if (kind == 0) fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_OPCODE);
  // SBC-2 5.2.1: what does not need the medium is refused, too.
  else if (kind != CLASS_ALWAYS && unitOf(t).formatting != 0) fail(t, KEY_NOT_READY, ASC_FORMATTING);
  else if ((load<u8>(cdbOf(t) + cdbLength(opcode) - 1) & CONTROL_REFUSED) != 0) {
    fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
  } else return true;
  return false;
}

/** Whether the command ends with a unit attention: a reset, another size, or a medium that came. */
function meetsAttention(t: ScsiTask): bool {
  const u = unitOf(t);
  const disk = unitDisk(u);
  if (u.attention != 0) {
    fail(t, KEY_UNIT_ATTENTION, u.attention);
    u.attention = 0;
    return true;
  }
  if (disk.settling != SETTLING_CHANGED) return false;
  disk.settling = SETTLING_NONE;
  fail(t, KEY_UNIT_ATTENTION, ASC_MEDIUM_CHANGED);
  return true;
}

/** Does a command that every unit does alike; false: it is none of them. */
export function startCommon(t: ScsiTask, opcode: u32): bool {
  switch (opcode) {
    case OP_INQUIRY:
      inquiry(t);
      break;
    case OP_REPORT_LUNS:
      reportLuns(t);
      break;
    case OP_REQUEST_SENSE:
      requestSense(t);
      break;
    case OP_RESERVE_6:
    case OP_RESERVE_10:
    case OP_RELEASE_6:
    case OP_RELEASE_10:
      reserveRelease(t);
      break;
    case OP_SEND_DIAGNOSTIC:
      sendDiagnostic(t);
      break;
    case OP_TEST_UNIT_READY:
      break;
    case OP_READ_CAPACITY_10:
      readCapacity10(t);
      break;
    case OP_SEEK_10:
      seek(t);
      break;
    case OP_VERIFY_10:
      verify(t);
      break;
    default:
      return false;
  }
  return true;
}

/** SPC-3 6.27. */
function requestSense(t: ScsiTask): void {
  const u = unitOf(t);
  if (u.senseKey == 0 && u.attention != 0) {
    offerSense(t, KEY_UNIT_ATTENTION, u.attention, false, 0);
    u.attention = 0;
  } else if (u.senseKey == 0 && u.formatting != 0) {
    offerSense(t, KEY_NOT_READY, ASC_FORMATTING, false, 0);
  } else {
    offerSense(t, u.senseKey, u.senseCode, u.senseValid != 0, u.senseInformation);
    clearSense(u);
  }
}

/** In the format that REQUEST SENSE asks for, as much as fits its allocation length. */
export function offerSense(t: ScsiTask, key: u32, code: u32, valid: bool, information: u32): void {
  const at = bufferOf(t);
  let bytes: u32 = SENSE_BYTES;
  if ((load<u8>(cdbOf(t), 1) & CDB_DESC) != 0) bytes = putDescriptorSense(at, key, code, valid, information);
  else putSense(at, key, code, valid, information);
  offer(t, DATA_IN, min<u32>(load<u8>(cdbOf(t), 4), bytes));
}

/** There is one initiator, so a reservation always succeeds; third parties and extents are refused (SPC-2 7.23). */
function reserveRelease(t: ScsiTask): void {
  if ((load<u8>(cdbOf(t), 1) & 0x1f) != 0) fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
}

/** The default self-test passes at once; there are no diagnostic pages (SPC-3 6.28). */
function sendDiagnostic(t: ScsiTask): void {
  if (load<u8>(cdbOf(t), 3) != 0 || load<u8>(cdbOf(t), 4) != 0)
    fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
}
