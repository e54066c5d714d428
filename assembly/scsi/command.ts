// Which command of a disk a descriptor block is, and what holds for all of them: absent units, a stopped unit.
import {
  formatUnit,
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
import { CLASS_MEDIUM, CLASS_UNIT, commonClass, mayBegin, offerSense, startCommon } from './common';
import { inquiry, reportLuns } from './inquiry';
import { startDriveCommand } from './mmc';
import { takeDriveModeList } from './mmc-mode';
import { modeSelect, modeSense, takeModeList } from './mode';
import { reportOpcodes } from './opcodes';
import {
  ASC_NO_SUCH_UNIT,
  ASC_STOPPED,
  KEY_ILLEGAL_REQUEST,
  KEY_NOT_READY,
  OP_FORMAT_UNIT,
  OP_INQUIRY,
  OP_MAINTENANCE_IN,
  OP_MODE_SELECT_6,
  OP_MODE_SELECT_10,
  OP_MODE_SENSE_6,
  OP_MODE_SENSE_10,
  OP_READ_6,
  OP_READ_16,
  OP_READ_DEFECT_DATA_10,
  OP_READ_DEFECT_DATA_12,
  OP_REPORT_LUNS,
  OP_REQUEST_SENSE,
  OP_REZERO_UNIT,
  OP_SEEK_6,
  OP_SERVICE_ACTION_IN_16,
  OP_START_STOP_UNIT,
  OP_SYNCHRONIZE_CACHE_10,
  OP_SYNCHRONIZE_CACHE_16,
  OP_UNMAP,
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
} from './regs';
import { cdbOf, fail, ScsiTask, unitOf } from './task';
import { clearSense, isDrive, ScsiUnit } from './unit';

export function startCommand(t: ScsiTask): void {
  const opcode = load<u8>(cdbOf(t));
  if (t.unit == 0) return startAbsent(t, opcode);
  const u = unitOf(t);
  if (opcode != OP_REQUEST_SENSE) clearSense(u);
  if (isDrive(u)) return startDriveCommand(t, opcode);
  const kind = isCommand(u, opcode) ? classOf(opcode) : 0;
  if (!mayBegin(t, opcode, kind)) return;
  if (kind == CLASS_MEDIUM && u.stopped != 0) return fail(t, KEY_NOT_READY, ASC_STOPPED);
  if (startCommon(t, opcode)) return;
  if (kind == CLASS_MEDIUM) startMedium(t, opcode);
  else startOther(t, opcode);
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

/** Whether the disk knows the operation code: a thick one has none that deallocate or repeat a block. */
export function isCommand(u: ScsiUnit, opcode: u32): bool {
  const thins = opcode == OP_UNMAP || opcode == OP_WRITE_SAME_10 || opcode == OP_WRITE_SAME_16;
  return classOf(opcode) != 0 && !(thins && u.thick != 0);
}

function classOf(opcode: u32): u32 {
  const common = commonClass(opcode);
  if (common != 0) return common;
  switch (opcode) {
    case OP_MAINTENANCE_IN:
      return CLASS_UNIT;
    case OP_REZERO_UNIT:
    case OP_FORMAT_UNIT:
    case OP_READ_6:
    case OP_READ_16:
    case OP_WRITE_6:
    case OP_WRITE_10:
    case OP_WRITE_12:
    case OP_WRITE_16:
    case OP_WRITE_VERIFY_10:
    case OP_WRITE_VERIFY_12:
    case OP_WRITE_VERIFY_16:
    case OP_VERIFY_12:
    case OP_VERIFY_16:
    case OP_SEEK_6:
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
    case OP_MODE_SENSE_6:
    case OP_MODE_SENSE_10:
      return modeSense(t);
    case OP_MODE_SELECT_6:
    case OP_MODE_SELECT_10:
      return modeSelect(t);
    case OP_START_STOP_UNIT:
      return startStop(t);
    case OP_MAINTENANCE_IN:
      return reportOpcodes(t);
    default: // PREVENT ALLOW MEDIUM REMOVAL: the medium is not removable, so both succeed.
      return;
  }
}

function startMedium(t: ScsiTask, opcode: u32): void {
  switch (opcode) {
    case OP_REZERO_UNIT:
      return;
    case OP_SERVICE_ACTION_IN_16:
      return readCapacity16(t);
    case OP_SEEK_6:
      return seek(t);
    case OP_SYNCHRONIZE_CACHE_10:
    case OP_SYNCHRONIZE_CACHE_16:
      return synchronize(t);
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
