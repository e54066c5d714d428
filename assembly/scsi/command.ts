// Which command a descriptor block is, and what holds for all of them: absent units, unit attentions, the
// control byte, a stopped unit.
import {
  formatUnit,
  readCapacity10,
  readCapacity16,
  readDefects,
  readWrite,
  seek,
  startStop,
  synchronize,
  takeSameBlock,
  takeUnmapList,
  unmap,
  verify,
  writeSame,
} from './block';
import { inquiry, reportLuns } from './inquiry';
import { startDriveCommand } from './mmc';
import { takeDriveModeList } from './mmc-mode';
import { modeSelect, modeSense, takeModeList } from './mode';
import { reportOpcodes } from './opcodes';
import {
  ASC_INVALID_CDB_FIELD,
  ASC_INVALID_OPCODE,
  ASC_NO_SUCH_UNIT,
  ASC_STOPPED,
  CDB_DESC,
  CONTROL_REFUSED,
  DATA_IN,
  KEY_ILLEGAL_REQUEST,
  KEY_NOT_READY,
  KEY_UNIT_ATTENTION,
  OP_FORMAT_UNIT,
  OP_INQUIRY,
  OP_MAINTENANCE_IN,
  OP_MODE_SELECT_6,
  OP_MODE_SELECT_10,
  OP_MODE_SENSE_6,
  OP_MODE_SENSE_10,
  OP_PREVENT_ALLOW,
  OP_READ_6,
  OP_READ_10,
  OP_READ_12,
  OP_READ_16,
  OP_READ_CAPACITY_10,
  OP_READ_DEFECT_DATA_10,
  OP_READ_DEFECT_DATA_12,
  OP_RELEASE_6,
  OP_RELEASE_10,
  OP_REPORT_LUNS,
  OP_REQUEST_SENSE,
  OP_RESERVE_6,
  OP_RESERVE_10,
  OP_REZERO_UNIT,
  OP_SEEK_6,
  OP_SEEK_10,
  OP_SEND_DIAGNOSTIC,
  OP_SERVICE_ACTION_IN_16,
  OP_START_STOP_UNIT,
  OP_SYNCHRONIZE_CACHE_10,
  OP_SYNCHRONIZE_CACHE_16,
  OP_TEST_UNIT_READY,
  OP_UNMAP,
  OP_VERIFY_10,
  OP_VERIFY_12,
  OP_VERIFY_16,
  OP_WRITE_6,
  OP_WRITE_10,
  OP_WRITE_12,
  OP_WRITE_16,
  OP_WRITE_SAME_10,
  OP_WRITE_SAME_16,
  OP_WRITE_VERIFY_10,
  OP_WRITE_VERIFY_12,
  OP_WRITE_VERIFY_16,
  SENSE_BYTES,
} from './regs';
import { bufferOf, cdbOf, fail, offer, ScsiTask, unitOf } from './task';
import { clearSense, isDrive, putDescriptorSense, putSense } from './unit';

/** A command that any state of the unit lets through. */
const CLASS_ALWAYS: u32 = 1;
/** A command that a unit attention stops. */
const CLASS_UNIT: u32 = 2;
/** A command that needs a medium that turns. */
const CLASS_MEDIUM: u32 = 3;

export function startCommand(t: ScsiTask): void {
  const opcode = load<u8>(cdbOf(t));
  if (t.unit == 0) return startAbsent(t, opcode);
  const u = unitOf(t);
  if (opcode != OP_REQUEST_SENSE) clearSense(u);
  if (isDrive(u)) return startDriveCommand(t, opcode);
  const kind = classOf(opcode);
  // Before the operation code is looked at: an unknown one meets the unit attention too (SAM-3 5.9.7).
  if (kind != CLASS_ALWAYS && u.attention != 0) {
    const attention = u.attention;
    u.attention = 0;
    return fail(t, KEY_UNIT_ATTENTION, attention);
  }
  if (kind == 0) return fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_OPCODE);
  if ((load<u8>(cdbOf(t) + cdbLength(opcode) - 1) & CONTROL_REFUSED) != 0) {
    return fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
  }
  if (kind == CLASS_MEDIUM) {
    if (u.stopped != 0) return fail(t, KEY_NOT_READY, ASC_STOPPED);
    startMedium(t, opcode);
  } else startOther(t, opcode);
}

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

/** The parameter list of a command is in the buffer. */
export function takeParameters(t: ScsiTask): void {
  if (isDrive(unitOf(t))) return takeDriveModeList(t);
  switch (<u32>load<u8>(cdbOf(t))) {
    case OP_MODE_SELECT_6:
    case OP_MODE_SELECT_10:
      return takeModeList(t);
    case OP_UNMAP:
      return takeUnmapList(t);
    default:
      return takeSameBlock(t);
  }
}

/** Whether disks know the operation code. */
export function isCommand(opcode: u32): bool {
  return classOf(opcode) != 0;
}

function classOf(opcode: u32): u32 {
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
    case OP_MAINTENANCE_IN:
      return CLASS_UNIT;
    case OP_TEST_UNIT_READY:
    case OP_REZERO_UNIT:
    case OP_FORMAT_UNIT:
    case OP_READ_6:
    case OP_READ_10:
    case OP_READ_12:
    case OP_READ_16:
    case OP_WRITE_6:
    case OP_WRITE_10:
    case OP_WRITE_12:
    case OP_WRITE_16:
    case OP_WRITE_VERIFY_10:
    case OP_WRITE_VERIFY_12:
    case OP_WRITE_VERIFY_16:
    case OP_VERIFY_10:
    case OP_VERIFY_12:
    case OP_VERIFY_16:
    case OP_SEEK_6:
    case OP_SEEK_10:
    case OP_READ_CAPACITY_10:
    case OP_SERVICE_ACTION_IN_16:
    case OP_SYNCHRONIZE_CACHE_10:
    case OP_SYNCHRONIZE_CACHE_16:
    case OP_READ_DEFECT_DATA_10:
    case OP_READ_DEFECT_DATA_12:
    case OP_WRITE_SAME_10:
    case OP_WRITE_SAME_16:
    case OP_UNMAP:
      return CLASS_MEDIUM;
    default:
      return 0;
  }
}

function startOther(t: ScsiTask, opcode: u32): void {
  switch (opcode) {
    case OP_INQUIRY:
      return inquiry(t);
    case OP_REPORT_LUNS:
      return reportLuns(t);
    case OP_REQUEST_SENSE:
      return requestSense(t);
    case OP_MODE_SENSE_6:
    case OP_MODE_SENSE_10:
      return modeSense(t);
    case OP_MODE_SELECT_6:
    case OP_MODE_SELECT_10:
      return modeSelect(t);
    case OP_START_STOP_UNIT:
      return startStop(t);
    case OP_RESERVE_6:
    case OP_RESERVE_10:
    case OP_RELEASE_6:
    case OP_RELEASE_10:
      return reserveRelease(t);
    case OP_SEND_DIAGNOSTIC:
      return sendDiagnostic(t);
    case OP_MAINTENANCE_IN:
      return reportOpcodes(t);
    default: // PREVENT ALLOW MEDIUM REMOVAL: the medium is not removable, so both succeed.
      return;
  }
}

function startMedium(t: ScsiTask, opcode: u32): void {
  switch (opcode) {
    case OP_TEST_UNIT_READY:
    case OP_REZERO_UNIT:
      return;
    case OP_READ_CAPACITY_10:
      return readCapacity10(t);
    case OP_SERVICE_ACTION_IN_16:
      return readCapacity16(t);
    case OP_SEEK_6:
    case OP_SEEK_10:
      return seek(t);
    case OP_SYNCHRONIZE_CACHE_10:
    case OP_SYNCHRONIZE_CACHE_16:
      return synchronize(t);
    case OP_VERIFY_10:
    case OP_VERIFY_12:
    case OP_VERIFY_16:
      return verify(t);
    case OP_WRITE_SAME_10:
    case OP_WRITE_SAME_16:
      return writeSame(t);
    case OP_UNMAP:
      return unmap(t);
    case OP_FORMAT_UNIT:
      return formatUnit(t);
    case OP_READ_DEFECT_DATA_10:
    case OP_READ_DEFECT_DATA_12:
      return readDefects(t);
    default:
      return readWrite(t, opcode);
  }
}

/** A number at which the target has no unit, SPC-3 6.4.1 and 6.27, SAM-3 5.9.4. */
function startAbsent(t: ScsiTask, opcode: u32): void {
  if (opcode == OP_INQUIRY) return inquiry(t);
  if (opcode == OP_REPORT_LUNS) return reportLuns(t);
  if (opcode != OP_REQUEST_SENSE) return fail(t, KEY_ILLEGAL_REQUEST, ASC_NO_SUCH_UNIT);
  offerSense(t, KEY_ILLEGAL_REQUEST, ASC_NO_SUCH_UNIT, false, 0);
}

/** SPC-3 6.27. */
export function requestSense(t: ScsiTask): void {
  const u = unitOf(t);
  if (u.senseKey == 0 && u.attention != 0) {
    offerSense(t, KEY_UNIT_ATTENTION, u.attention, false, 0);
    u.attention = 0;
  } else {
    offerSense(t, u.senseKey, u.senseCode, u.senseValid != 0, u.senseInformation);
    clearSense(u);
  }
}

/** In the format that REQUEST SENSE asks for, as much as fits its allocation length. */
function offerSense(t: ScsiTask, key: u32, code: u32, valid: bool, information: u32): void {
  const at = bufferOf(t);
  let bytes: u32 = SENSE_BYTES;
  if ((load<u8>(cdbOf(t), 1) & CDB_DESC) != 0) bytes = putDescriptorSense(at, key, code, valid, information);
  else putSense(at, key, code, valid, information);
  offer(t, DATA_IN, min<u32>(load<u8>(cdbOf(t), 4), bytes));
}

/** There is one initiator, so a reservation always succeeds; third parties and extents are refused (SPC-2 7.23). */
export function reserveRelease(t: ScsiTask): void {
  if ((load<u8>(cdbOf(t), 1) & 0x1f) != 0) fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
}

/** The default self-test passes at once; there are no diagnostic pages (SPC-3 6.28). */
export function sendDiagnostic(t: ScsiTask): void {
  if (load<u8>(cdbOf(t), 3) != 0 || load<u8>(cdbOf(t), 4) != 0)
    fail(t, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
}
