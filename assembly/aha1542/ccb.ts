// Command control blocks: from the fetch to the status bytes ([1] 2.2). A CCB is read once, into its slot;
// what the host changes afterwards has no effect.
//
// [1] AHA-1540B/1542B Technical Reference Manual
import { cancel, schedule } from '../bus/clock';
import { dmaFetch, dmaStore } from '../bus/dma';
import { AT_SCRATCH } from '../bus/layout';
import { moveSegment } from '../bus/mover';
import { trace } from '../bus/trace';
import { TRACE_COMMAND, TRACE_COMPLETE } from '../bus/trace-codes';
import { transferLba } from '../scsi/block';
import { get24, put24 } from '../scsi/bytes';
import { cdbLength } from '../scsi/common';
import { DATA_IN, DATA_OUT, STATUS_CHECK_CONDITION, STATUS_GOOD } from '../scsi/regs';
import {
  cdbOf,
  scsiAbort,
  scsiDataEnd,
  scsiMove,
  scsiMoved,
  scsiSense,
  scsiStart,
  scsiTake,
  TASK_DATA,
  TASK_DONE,
} from '../scsi/task';
import { resetUnit, unitAt } from '../scsi/unit';
import {
  Aha1542,
  busyPlace,
  EVENT_SELECTION,
  earliest,
  SLOT_DONE,
  SLOT_FREE,
  SLOT_QUEUED,
  SLOT_RUNNING,
  SLOT_SELECTING,
  SLOT_TARGET,
  Slot,
  segmentAt,
  slotAt,
  slotBit,
  slotBuffer,
  slotNumber,
  unitPlace,
  unitsOf,
} from './board';
import { freeSlot, report } from './mailbox';
import {
  CCB_AT_ADDRESS,
  CCB_AT_CDB,
  CCB_AT_CDB_LENGTH,
  CCB_AT_DATA_LENGTH,
  CCB_AT_DATA_POINTER,
  CCB_AT_HOST_STATUS,
  CCB_AT_OPCODE,
  CCB_AT_SENSE_LENGTH,
  CCB_DIRECTION_SHIFT,
  CCB_TARGET_SHIFT,
  CCB_UNIT_MASK,
  DIRECTION_ANY,
  DIRECTION_IN,
  DIRECTION_NONE,
  DIRECTION_OUT,
  HOST_BAD_DIRECTION,
  HOST_BAD_MAILBOX,
  HOST_BAD_OPCODE,
  HOST_BAD_PARAMETER,
  HOST_BUS_FREE,
  HOST_DUPLICATE,
  HOST_OK,
  HOST_OVERRUN,
  HOST_SELECTION_TIMEOUT,
  MBI_ABORTED,
  MBI_ERROR,
  MBI_FREE,
  MBI_NOT_FOUND,
  MBI_SUCCESS,
  OPCODE_DEVICE_RESET,
  OPCODE_INITIATOR,
  OPCODE_INITIATOR_RESIDUAL,
  OPCODE_SCATTER,
  OPCODE_SCATTER_RESIDUAL,
  OPCODE_TARGET,
  SEGMENT_BYTES,
  SENSE_DEFAULT,
  SENSE_DISABLED,
  SLOTS,
  UNITS,
} from './regs';

/** Bytes of the largest descriptor block. */
const CDB_MAX: u32 = 16;
/** In the trace, where a SCSI operation code would be: a CCB without one, a mailbox without a CCB. */
const TRACE_CCB: u32 = 0x100;
const TRACE_MAILBOX: u32 = 0x200;

/** Scratch bytes behind what mailbox.ts keeps of the out mailboxes. */
function ccbPlace(): usize {
  return AT_SCRATCH + 0x400;
}

/** A CCB that the host started. */
export function acceptCcb(d: Aha1542, s: Slot): void {
  const at = ccbPlace();
  dmaFetch(d, s.ccb, at, CCB_AT_CDB);
  const address: u32 = load<u8>(at, CCB_AT_ADDRESS);
  s.opcode = load<u8>(at, CCB_AT_OPCODE);
  s.target = address >>> CCB_TARGET_SHIFT;
  s.lun = address & CCB_UNIT_MASK;
  s.control = (address >>> CCB_DIRECTION_SHIFT) & 3;
  s.senseLength = load<u8>(at, CCB_AT_SENSE_LENGTH);
  s.cdbBytes = load<u8>(at, CCB_AT_CDB_LENGTH);
  s.dataLength = get24(at + CCB_AT_DATA_LENGTH);
  s.dataPointer = get24(at + CCB_AT_DATA_POINTER);
  s.segments = 0;
  s.capacity = 0;
  switch (s.opcode) {
    case OPCODE_INITIATOR:
    case OPCODE_SCATTER:
    case OPCODE_INITIATOR_RESIDUAL:
    case OPCODE_SCATTER_RESIDUAL:
      return acceptCommand(d, s);
    case OPCODE_TARGET:
      announce(d, s);
      return acceptTarget(d, s);
    case OPCODE_DEVICE_RESET:
      announce(d, s);
      return resetDevice(d, s);
    default:
      announce(d, s);
      return endWith(d, s, HOST_BAD_OPCODE, STATUS_GOOD, MBI_ERROR);
  }
}

/** Has the trace begin a command that has no descriptor block: above those, the CCB's operation code. */
function announce(d: Aha1542, s: Slot): void {
  trace(TRACE_COMMAND, d.id, s.number, TRACE_CCB | s.opcode, 0, 0);
}

/** A mailbox whose action is none of the three. */
export function refuseAction(d: Aha1542, s: Slot): void {
  trace(TRACE_COMMAND, d.id, s.number, TRACE_MAILBOX, 0, 0);
  endWith(d, s, HOST_BAD_MAILBOX, STATUS_GOOD, MBI_ERROR);
}

/** The host takes a CCB back. `s` carries the answer where there is no such CCB any more ([1] 2.1.1). */
export function abortCcb(d: Aha1542, s: Slot): void {
  for (let i: u32 = 0; i < <u32>SLOTS; i++) {
    const other = slotAt(d, i);
    if (other.ccb != s.ccb || other.slotState == SLOT_FREE || other.slotState == SLOT_DONE) continue;
    freeSlot(d, s);
    withdraw(d, other);
    report(d, other, MBI_ABORTED);
    return startQueued(d, other.target, other.lun);
  }
  trace(TRACE_COMMAND, d.id, s.number, TRACE_MAILBOX, 0, 0);
  report(d, s, MBI_NOT_FOUND);
}

function acceptCommand(d: Aha1542, s: Slot): void {
  if (s.cdbBytes == 0 || s.cdbBytes > CDB_MAX) return badParameter(d, s);
  s.cdbLow = 0;
  s.cdbHigh = 0;
  dmaFetch(d, <u64>s.ccb + CCB_AT_CDB, cdbOf(s), s.cdbBytes);
  if (s.cdbBytes < cdbLength(load<u8>(cdbOf(s)))) return badParameter(d, s);
  if (!fetchSegments(d, s)) return badParameter(d, s);
  trace(TRACE_COMMAND, d.id, s.number, load<u8>(cdbOf(s)), <u32>transferLba(s), s.capacity);
  if (s.target == d.hostId || unitsOf(d, s.target) == 0) return select(d, s);
  if (load<u8>(busyPlace(d, s.target, s.lun)) != 0) {
    s.slotState = SLOT_QUEUED;
    d.queuedSlots |= slotBit(d, s);
    return;
  }
  start(d, s);
}

/** Nobody answers the selection. */
function select(d: Aha1542, s: Slot): void {
  s.slotState = SLOT_SELECTING;
  if (d.selectionTimeout == 0) return;
  if (!schedule(d, EVENT_SELECTION, slotNumber(d, s), d.selectionTimeout)) selectionTimedOut(d, s);
}

export function selectionTimedOut(d: Aha1542, s: Slot): void {
  assert(s.slotState == SLOT_SELECTING);
  endWith(d, s, HOST_SELECTION_TIMEOUT, STATUS_GOOD, MBI_ERROR);
}

/** Fetches the scatter-gather list, or makes one segment of the CCB's own pointer; false if it is bad. */
function fetchSegments(d: Aha1542, s: Slot): bool {
  if (s.opcode == OPCODE_INITIATOR || s.opcode == OPCODE_INITIATOR_RESIDUAL) {
    if (s.dataLength == 0) return true;
    s.segments = 1;
    s.capacity = s.dataLength;
    store<u32>(segmentAt(s, 0), s.dataPointer);
    store<u32>(segmentAt(s, 0), s.dataLength, 4);
    return true;
  }
  const count = s.dataLength / SEGMENT_BYTES;
  if (s.dataLength != count * SEGMENT_BYTES || count > d.maxSegments) return false;
  if (count == 0) return true;
  const at = ccbPlace();
  dmaFetch(d, s.dataPointer, at, s.dataLength);
  for (let i: u32 = 0; i < count; i++) {
    const bytes = get24(at + i * SEGMENT_BYTES);
    if (bytes == 0) return false;
    store<u32>(segmentAt(s, i), get24(at + i * SEGMENT_BYTES + 3));
    store<u32>(segmentAt(s, i), bytes, 4);
    s.capacity += bytes;
  }
  s.segments = count;
  return true;
}

function badParameter(d: Aha1542, s: Slot): void {
  announce(d, s);
  endWith(d, s, HOST_BAD_PARAMETER, STATUS_GOOD, MBI_ERROR);
}

function start(d: Aha1542, s: Slot): void {
  s.slotState = SLOT_RUNNING;
  store<u8>(busyPlace(d, s.target, s.lun), <u8>(slotNumber(d, s) + 1));
  const unit = load<u32>(unitPlace(d, s.target, s.lun));
  s.device = <u32>changetype<usize>(d);
  s.tag = slotNumber(d, s);
  s.unit = unit != 0 && unitAt(unit).disk != 0 ? unit : 0;
  s.units = unitsOf(d, s.target);
  s.buffer = <u32>slotBuffer(s);
  scsiStart(s);
  proceed(d, s);
}

/** Goes on with a task until it waits for a medium or is over. */
export function proceed(d: Aha1542, s: Slot): void {
  d.command = s.number;
  // The data phase comes once; afterwards the task waits or is over.
  if (s.state == TASK_DATA) dataPhase(d, s);
  if (s.state == TASK_DONE) complete(d, s);
}

/** The data phase: no more than the segments hold, and only if the host expects this direction. */
function dataPhase(d: Aha1542, s: Slot): void {
  const expected =
    s.control == DIRECTION_ANY ||
    (s.control == DIRECTION_IN && s.direction == DATA_IN) ||
    (s.control == DIRECTION_OUT && s.direction == DATA_OUT);
  const bytes = scsiTake(s, expected ? s.capacity : 0);
  scsiMove(s, 0);
  let left = bytes;
  for (let i: u32 = 0; i < s.segments && left > 0; i++) {
    const n = min(left, load<u32>(segmentAt(s, i), 4));
    // What meets no RAM reads as ones or is lost: the ISA bus has no error signal that the board looks at.
    moveSegment(d, load<u32>(segmentAt(s, i)), n);
    left -= n;
  }
  scsiMoved(s);
  scsiDataEnd(s, bytes);
}

/** The target has given its status. */
function complete(d: Aha1542, s: Slot): void {
  store<u8>(busyPlace(d, s.target, s.lun), 0);
  if (s.opcode == OPCODE_INITIATOR_RESIDUAL || s.opcode == OPCODE_SCATTER_RESIDUAL) {
    put24(ccbPlace(), s.capacity - s.moved);
    dmaStore(d, <u64>s.ccb + CCB_AT_DATA_LENGTH, ccbPlace(), 3);
  }
  if (s.status == STATUS_CHECK_CONDITION && s.senseLength != SENSE_DISABLED) storeSense(d, s);
  const host = s.status == STATUS_GOOD && isWrongLength(s) ? HOST_OVERRUN : HOST_OK;
  endWith(d, s, host, s.status, host == HOST_OK && s.status == STATUS_GOOD ? MBI_SUCCESS : MBI_ERROR);
  startQueued(d, s.target, s.lun);
}

/** Over- and underrun, which direction 0 leaves unchecked and direction 3 has for any data at all. */
function isWrongLength(s: Slot): bool {
  if (s.control == DIRECTION_ANY) return false;
  if (s.control == DIRECTION_NONE) return s.length > 0;
  return s.moved != s.capacity || s.length > s.moved;
}

/** The board asks for sense data by itself and leaves them behind the descriptor block. */
function storeSense(d: Aha1542, s: Slot): void {
  const wanted = s.senseLength == 0 ? SENSE_DEFAULT : s.senseLength;
  const bytes = min<u32>(scsiSense(s, ccbPlace()), wanted);
  dmaStore(d, <u64>s.ccb + CCB_AT_CDB + s.cdbBytes, ccbPlace(), bytes);
}

/** Writes both status bytes of the CCB, then reports. */
function endWith(d: Aha1542, s: Slot, host: u32, target: u32, mail: u32): void {
  store<u8>(ccbPlace(), <u8>host);
  store<u8>(ccbPlace(), <u8>target, 1);
  dmaStore(d, <u64>s.ccb + CCB_AT_HOST_STATUS, ccbPlace(), 2);
  report(d, s, mail);
}

/** Starts the oldest command that waits for a unit. */
function startQueued(d: Aha1542, target: u32, lun: u32): void {
  if (d.queuedSlots == 0 || load<u8>(busyPlace(d, target, lun)) != 0) return;
  let waiting: u64 = 0;
  // Each round takes a bit out of the set.
  for (let left = d.queuedSlots; left != 0; left &= left - 1) {
    const s = slotAt(d, <u32>ctz(left));
    if (s.target == target && s.lun == lun) waiting |= left & (0 - left);
  }
  if (waiting == 0) return;
  const s = earliest(d, waiting);
  d.queuedSlots &= ~slotBit(d, s);
  start(d, s);
}

/** CCB opcode 1, [1] 2.4: kept until an initiator selects the board, which never happens on this bus. */
function acceptTarget(d: Aha1542, s: Slot): void {
  if ((d.targetUnits & (1 << s.lun)) == 0) return endWith(d, s, HOST_BAD_OPCODE, STATUS_GOOD, MBI_ERROR);
  if (s.control == DIRECTION_ANY || s.control == DIRECTION_NONE) {
    return endWith(d, s, HOST_BAD_DIRECTION, STATUS_GOOD, MBI_ERROR);
  }
  for (let i: u32 = 0; i < <u32>SLOTS; i++) {
    const other = slotAt(d, i);
    if (other.slotState != SLOT_TARGET || other.target != s.target || other.lun != s.lun) continue;
    if (other.control == s.control) return endWith(d, s, HOST_DUPLICATE, STATUS_GOOD, MBI_ERROR);
  }
  s.slotState = SLOT_TARGET;
}

/** CCB opcode 81h: a BUS DEVICE RESET message; the target forgets its commands, and no mail comes for them. */
function resetDevice(d: Aha1542, s: Slot): void {
  if (s.target == d.hostId || unitsOf(d, s.target) == 0) return select(d, s);
  dropTarget(d, s.target);
  for (let lun: u32 = 0; lun < <u32>UNITS; lun++) {
    const unit = load<u32>(unitPlace(d, s.target, lun));
    if (unit != 0) resetUnit(unitAt(unit));
  }
  endWith(d, s, HOST_OK, STATUS_GOOD, MBI_SUCCESS);
}

function dropTarget(d: Aha1542, target: u32): void {
  for (let i: u32 = 0; i < <u32>SLOTS; i++) {
    const s = slotAt(d, i);
    if (s.target != target || (s.slotState != SLOT_RUNNING && s.slotState != SLOT_QUEUED)) continue;
    drop(d, s);
  }
}

/** Takes a command off the bus, whatever it is doing. */
function withdraw(d: Aha1542, s: Slot): void {
  switch (s.slotState) {
    case SLOT_QUEUED:
      d.queuedSlots &= ~slotBit(d, s);
      break;
    case SLOT_SELECTING:
      cancel(d, EVENT_SELECTION, slotNumber(d, s));
      break;
    case SLOT_RUNNING:
      scsiAbort(s);
      store<u8>(busyPlace(d, s.target, s.lun), 0);
      break;
    case SLOT_DONE:
      d.doneSlots &= ~slotBit(d, s);
      break;
  }
}

/** A command of which the host hears no more; in the trace it ends with the status of an empty mailbox. */
function drop(d: Aha1542, s: Slot): void {
  if (s.slotState != SLOT_DONE) trace(TRACE_COMPLETE, d.id, s.number, MBI_FREE, 0, 0);
  withdraw(d, s);
  freeSlot(d, s);
}

/** A reset: every command is forgotten, and no mail comes. */
export function dropCommands(d: Aha1542): void {
  for (let i: u32 = 0; i < <u32>SLOTS; i++) {
    const s = slotAt(d, i);
    if (s.slotState == SLOT_FREE) continue;
    drop(d, s);
  }
  assert(d.queuedSlots == 0 && d.doneSlots == 0);
}

/** A unit is pulled off the bus: its commands end as when a target lets go of it. */
export function pullUnit(d: Aha1542, target: u32, lun: u32): void {
  for (let i: u32 = 0; i < <u32>SLOTS; i++) {
    const s = slotAt(d, i);
    if (s.target != target || s.lun != lun) continue;
    if (s.slotState != SLOT_RUNNING && s.slotState != SLOT_QUEUED) continue;
    withdraw(d, s);
    endWith(d, s, HOST_BUS_FREE, STATUS_GOOD, MBI_ERROR);
  }
}
