// The targets' side of the bus: messages, commands, status, and when a target lets go of the bus (references in
// chip.ts). Each target holds as many commands as there are slots; proceed() is what a target does next.
//
// Two leniencies for software that was only ever run on emulators (SeaBIOS): a command phase takes up to 16 bytes in
// one block move, however long the command is; and a target that was selected without ATN still takes a message if
// the first block move is one (move.ts).
import { cancel, schedule, scheduleNext } from '../bus/clock';
import { trace } from '../bus/trace';
import { TRACE_COMMAND, TRACE_COMPLETE } from '../bus/trace-codes';
import { Request, waitsForHost } from '../media/media';
import { transferLba } from '../scsi/block';
import { cdbLength } from '../scsi/common';
import {
  ASC_INITIATOR_ERROR,
  ASC_OVERLAPPED,
  DATA_IN,
  KEY_ABORTED_COMMAND,
  STATUS_BUSY,
  STATUS_TASK_ABORTED,
  STATUS_TASK_SET_FULL,
} from '../scsi/regs';
import { cdbOf, fail, scsiAbort, scsiStart, TASK_DATA, TASK_WAIT } from '../scsi/task';
import { resetUnit, unitAt } from '../scsi/unit';
import { busFree, forgetBus, request, taskReady, wantBus } from './bus';
import {
  CDB_MAX,
  cdbPlace,
  EVENT_RESUME,
  get8,
  isConnected,
  Lsi,
  MESSAGE_MAX,
  messageIn,
  messageOut,
  NO_STATUS,
  SLOT_FREE,
  SLOT_QUEUED,
  SLOT_RUNNING,
  Slot,
  slotAt,
  slotBit,
  slotBuffer,
  slotNumber,
  unitPlace,
  unitsOf,
} from './chip';
import {
  LSI_PHASE_COMMAND,
  LSI_PHASE_DATA_IN,
  LSI_PHASE_DATA_OUT,
  LSI_PHASE_MESSAGE_IN,
  LSI_PHASE_MESSAGE_OUT,
  LSI_PHASE_STATUS,
  LSI_SCID,
  LSI_SCID_ENC,
  LSI_SCNTL3,
  LSI_SCNTL3_EWS,
  LSI_TARGETS,
  LSI_TASKS,
  LSI_UNITS,
  MSG_ABORT,
  MSG_ABORT_TAG,
  MSG_CLEAR_QUEUE,
  MSG_COMMAND_COMPLETE,
  MSG_DEVICE_RESET,
  MSG_DISCONNECT,
  MSG_EXT_PPR,
  MSG_EXT_PPR_BYTES,
  MSG_EXT_SDTR,
  MSG_EXT_SDTR_BYTES,
  MSG_EXT_WDTR,
  MSG_EXT_WDTR_BYTES,
  MSG_EXTENDED,
  MSG_HEAD_TAG,
  MSG_IDENTIFY,
  MSG_IDENTIFY_DISCONNECT,
  MSG_IDENTIFY_LUN,
  MSG_IGNORE_RESIDUE,
  MSG_INITIATOR_ERROR,
  MSG_NO_OPERATION,
  MSG_ORDERED_TAG,
  MSG_PARITY_ERROR,
  MSG_REJECT,
  MSG_SAVE_POINTERS,
  MSG_SIMPLE_TAG,
} from './regs';

/** What targets agree to: 25 ns between words, and as many ahead as the chip's offset counts. */
const SYNC_PERIOD: u32 = 10;
const SYNC_OFFSET: u32 = 31;
/** How long a target stays away that disconnects in the middle of data. */
const PAUSE_NS: u64 = 20_000;

/** What the target in the nexus does next. It waits for ACK, then looks at ATN. */
export function proceed(d: Lsi): void {
  if (!isConnected(d) || d.ack != 0) return;
  d.req = 0;
  if (d.inAt != 0 && d.inAt < d.inBytes) return request(d, LSI_PHASE_MESSAGE_IN);
  if (d.atn != 0 || d.outBytes != 0) return request(d, LSI_PHASE_MESSAGE_OUT);
  if (d.inAt < d.inBytes) return request(d, LSI_PHASE_MESSAGE_IN);
  if (d.leaves != 0) return leaveBus(d);
  if (d.slot == 0 && d.status == NO_STATUS) return request(d, LSI_PHASE_COMMAND);
  if (d.slot != 0) {
    const s = slotAt(d, d.slot - 1);
    if (!isReady(s)) return awaitTask(d, s);
    if (s.state == TASK_DATA) {
      return request(d, s.direction == DATA_IN ? LSI_PHASE_DATA_IN : LSI_PHASE_DATA_OUT);
    }
    endTask(d, s);
  }
  if (d.statusSent == 0) request(d, LSI_PHASE_STATUS);
  else leaveBus(d);
}

/** Whether a task has something to say to its initiator. */
export function isReady(s: Slot): bool {
  return s.slotState == SLOT_RUNNING && s.state != TASK_WAIT && s.pauses == 0;
}

/** The medium is late: the target disconnects if it may, else it keeps the bus. */
function awaitTask(d: Lsi, s: Slot): void {
  if (d.privilege == 0 || s.settles != 0) return;
  if (s.at != s.saved) queueMessage(d, MSG_SAVE_POINTERS);
  s.saved = s.at;
  queueMessage(d, MSG_DISCONNECT);
  d.leaves = 1;
  request(d, LSI_PHASE_MESSAGE_IN);
}

function leaveBus(d: Lsi): void {
  const slot = d.slot;
  d.slot = 0;
  busFree(d);
  if (slot == 0) return;
  const s = slotAt(d, slot - 1);
  if (isReady(s)) wantBus(d, s);
}

/** The nexus ends, and its command with it. */
export function leave(d: Lsi): void {
  if (d.slot != 0) dropTask(d, slotAt(d, d.slot - 1));
}

/** Lets the target breathe in the middle of data. */
export function pauseTask(d: Lsi, s: Slot): void {
  if (schedule(d, EVENT_RESUME, slotNumber(d, s), PAUSE_NS)) s.pauses = 1;
}

export function resumeTask(d: Lsi, s: Slot): void {
  s.pauses = 0;
  s.settles = 0;
  taskReady(d, s);
}

/**
 * The data went to a medium. One that has it already is heard of by an event, as one that needs the host for that: so
 * that the chip sees no difference.
 */
export function settleTask(d: Lsi, s: Slot): void {
  s.settles = 1;
  if (s.state == TASK_WAIT && waitsForHost(changetype<Request>(<usize>s.request))) return;
  if (scheduleNext(d, EVENT_RESUME, slotNumber(d, s))) s.pauses = 1;
  else s.settles = 0;
}

/** Whether data goes two bytes at a time: the target agreed, and the chip does it. */
export function isWide(d: Lsi): bool {
  return ((d.wideTargets >>> d.target) & 1) != 0 && (get8(d, LSI_SCNTL3) & LSI_SCNTL3_EWS) != 0;
}

// Messages to the chip.

function queueMessage(d: Lsi, byte: u32): void {
  if (d.inAt == d.inBytes) {
    d.inAt = 0;
    d.inBytes = 0;
  }
  // What finds no room is not said: an initiator that sends so many messages does not listen.
  if (d.inBytes == MESSAGE_MAX) return;
  store<u8>(messageIn(d) + d.inBytes, <u8>byte);
  d.inBytes++;
}

/** `bytes` bytes of message have been taken. */
export function messageTaken(d: Lsi, bytes: u32): void {
  d.inAt += bytes;
  d.req = 0;
  if (d.inAt < d.inBytes) return;
  d.lastIn = load<u8>(messageIn(d));
  d.lastBytes = d.inBytes;
  d.inAt = 0;
  d.inBytes = 0;
}

/** Data in ended in the middle of a word. */
export function ignoreResidue(d: Lsi): void {
  queueMessage(d, MSG_IGNORE_RESIDUE);
  queueMessage(d, 1);
}

// Messages from the chip.

/** A byte of message, [2] 10.2: one, two, or as many bytes as the second says. */
export function takeMessage(d: Lsi, byte: u32): void {
  const at = d.outBytes;
  if (at < MESSAGE_MAX) store<u8>(messageOut(d) + at, <u8>byte);
  d.outBytes = at + 1;
  if (at == 0) d.outLength = byte == MSG_EXTENDED || (byte & 0xf0) == MSG_SIMPLE_TAG ? 2 : 1;
  else if (at == 1 && load<u8>(messageOut(d)) == MSG_EXTENDED) d.outLength = 2 + (byte == 0 ? 256 : byte);
  if (d.outBytes < d.outLength) return;
  d.outBytes = 0;
  message(d, load<u8>(messageOut(d)));
}

function message(d: Lsi, code: u32): void {
  if (code >= <u32>MSG_IDENTIFY) return identify(d, code);
  switch (code) {
    case MSG_EXTENDED:
      return negotiate(d);
    case MSG_SIMPLE_TAG:
    case MSG_HEAD_TAG:
    case MSG_ORDERED_TAG:
      if (d.slot != 0) return queueMessage(d, MSG_REJECT);
      d.tagKind = code;
      d.tag = load<u8>(messageOut(d), 1);
      return;
    case MSG_NO_OPERATION:
      return;
    case MSG_REJECT:
      return rejected(d);
    case MSG_PARITY_ERROR:
      d.inAt = 0;
      d.inBytes = d.lastBytes;
      return;
    case MSG_INITIATOR_ERROR:
      if (d.slot != 0) failTask(d, slotAt(d, d.slot - 1));
      return;
    case MSG_ABORT:
    case MSG_CLEAR_QUEUE:
      if (d.identified != 0) dropTasks(d, d.target, d.lun);
      return hangUp(d);
    case MSG_ABORT_TAG:
      abortTag(d);
      return hangUp(d);
    case MSG_DEVICE_RESET:
      resetTarget(d, d.target);
      return hangUp(d);
    default:
      queueMessage(d, MSG_REJECT);
  }
}

function identify(d: Lsi, code: u32): void {
  d.privilege = code & MSG_IDENTIFY_DISCONNECT;
  if (d.slot != 0) slotAt(d, d.slot - 1).privilege = d.privilege;
  else d.lun = code & MSG_IDENTIFY_LUN;
  d.identified = 1;
}

/** The initiator does not want what it was told. */
function rejected(d: Lsi): void {
  if (d.lastIn == MSG_EXTENDED) d.wideTargets &= ~(1 << d.target);
  if (d.lastIn != MSG_DISCONNECT && d.lastIn != MSG_SAVE_POINTERS) return;
  d.leaves = 0;
  d.privilege = 0;
}

/** [2] 10.3: the target takes what both can do, and says so. */
function negotiate(d: Lsi): void {
  const at = messageOut(d);
  const bytes = load<u8>(at, 1);
  const code = load<u8>(at, 2);
  if (code == MSG_EXT_SDTR && bytes == MSG_EXT_SDTR_BYTES) {
    store<u8>(at, limitPeriod(load<u8>(at, 3)), 3);
    store<u8>(at, limitOffset(load<u8>(at, 4)), 4);
  } else if (code == MSG_EXT_WDTR && bytes == MSG_EXT_WDTR_BYTES) {
    store<u8>(at, agreeWidth(d, load<u8>(at, 3)), 3);
  } else if (code == MSG_EXT_PPR && bytes == MSG_EXT_PPR_BYTES) {
    store<u8>(at, limitPeriod(load<u8>(at, 3)), 3);
    store<u8>(at, limitOffset(load<u8>(at, 5)), 5);
    store<u8>(at, agreeWidth(d, load<u8>(at, 6)), 6);
    // No double transitions, information units or quick arbitration: SPI-2 has none.
    store<u8>(at, 0, 7);
  } else return queueMessage(d, MSG_REJECT);
  for (let i: u32 = 0; i < <u32>bytes + 2; i++) queueMessage(d, load<u8>(at + i));
}

function limitPeriod(factor: u8): u8 {
  return max<u8>(factor, <u8>SYNC_PERIOD);
}

function limitOffset(offset: u8): u8 {
  return min<u8>(offset, <u8>SYNC_OFFSET);
}

function agreeWidth(d: Lsi, width: u8): u8 {
  const wide = width != 0 && d.wide != 0;
  const bit: u32 = 1 << d.target;
  d.wideTargets = wide ? d.wideTargets | bit : d.wideTargets & ~bit;
  return wide ? 1 : 0;
}

/** The initiator could not use what it was told: the command ends with that. */
function failTask(d: Lsi, s: Slot): void {
  if (s.slotState == SLOT_QUEUED) d.queuedTasks--;
  else scsiAbort(s);
  s.slotState = SLOT_RUNNING;
  fail(s, KEY_ABORTED_COMMAND, ASC_INITIATOR_ERROR);
}

/** ABORT TAG: of the command in the nexus, or of the one that its tag names. */
function abortTag(d: Lsi): void {
  if (d.slot != 0) return leave(d);
  const s = findTask(d);
  if (s != null) dropTask(d, s);
}

/** The target leaves the bus after the last byte of a message that asks for it. */
function hangUp(d: Lsi): void {
  leave(d);
  busFree(d);
}

// Commands.

/** `bytes` more bytes of descriptor block have come. */
export function takeCommand(d: Lsi, bytes: u32): void {
  d.cdbBytes += bytes;
  d.req = 0;
  if (d.cdbBytes < min<u32>(CDB_MAX, cdbLength(load<u8>(cdbPlace(d))))) return;
  memory.fill(cdbPlace(d) + d.cdbBytes, 0, CDB_MAX - d.cdbBytes);
  startTask(d);
}

function startTask(d: Lsi): void {
  const old = findTask(d);
  if (old != null) dropTasks(d, d.target, d.lun);
  if (d.freeSlots == 0) {
    d.status = d.tagKind != 0 ? STATUS_TASK_SET_FULL : STATUS_BUSY;
    return;
  }
  const i = <u32>ctz(d.freeSlots);
  d.freeSlots &= d.freeSlots - 1;
  const s = slotAt(d, i);
  d.slot = i + 1;
  d.commands++;
  d.sequence++;
  s.number = d.commands;
  d.command = s.number;
  s.order = d.sequence;
  s.target = d.target;
  s.lun = d.lun;
  s.tagKind = d.tagKind;
  s.tagValue = d.tag;
  s.initiator = get8(d, LSI_SCID) & LSI_SCID_ENC;
  s.privilege = d.privilege;
  s.at = 0;
  s.saved = 0;
  s.pauses = 0;
  s.settles = 0;
  s.device = <u32>changetype<usize>(d);
  s.tag = i;
  const unit = d.lun < <u32>LSI_UNITS ? load<u32>(unitPlace(d, d.target, d.lun)) : 0;
  s.unit = unit != 0 && unitAt(unit).disk != 0 ? unit : 0;
  s.units = unitsOf(d, d.target);
  s.buffer = <u32>slotBuffer(s);
  memory.copy(cdbOf(s), cdbPlace(d), CDB_MAX);
  trace(TRACE_COMMAND, d.id, s.number, load<u8>(cdbOf(s)), <u32>transferLba(s), 0);
  if (old == null && mustWait(d, s)) {
    s.slotState = SLOT_QUEUED;
    d.queuedTasks++;
    return;
  }
  s.slotState = SLOT_RUNNING;
  // SAM-3 5.8.3: two commands of one name end both.
  if (old != null) fail(s, KEY_ABORTED_COMMAND, ASC_OVERLAPPED);
  else scsiStart(s);
}

/** The open task that goes by the name of the nexus. */
function findTask(d: Lsi): Slot | null {
  // Each round takes a bit out of the set of slots that are taken.
  for (let left = ~d.freeSlots; left != 0; left &= left - 1) {
    const s = slotAt(d, <u32>ctz(left));
    if (s.slotState == SLOT_FREE || s.target != d.target || s.lun != d.lun) continue;
    if ((s.tagKind != 0) == (d.tagKind != 0) && (d.tagKind == 0 || s.tagValue == d.tag)) return s;
  }
  return null;
}

/** SAM-3 8.6: an ordered task waits for all before it, and those behind it wait for it. */
function mustWait(d: Lsi, s: Slot): bool {
  if (s.tagKind == MSG_HEAD_TAG) return false;
  for (let left = ~d.freeSlots; left != 0; left &= left - 1) {
    const other = slotAt(d, <u32>ctz(left));
    if (other.slotState == SLOT_FREE || other.target != s.target || other.lun != s.lun) continue;
    if (<i32>(other.order - s.order) >= 0) continue;
    if (s.tagKind == MSG_ORDERED_TAG || other.tagKind == MSG_ORDERED_TAG) return true;
  }
  return false;
}

/** A task has its status; what waited behind it may start. */
function endTask(d: Lsi, s: Slot): void {
  d.status = s.status;
  d.slot = 0;
  d.completions++;
  trace(TRACE_COMPLETE, d.id, s.number, s.status, 0, 0);
  freeTask(d, s);
  startQueued(d, s.target, s.lun);
}

/** The status byte has been taken. */
export function statusTaken(d: Lsi): void {
  d.statusSent = 1;
  d.leaves = 1;
  queueMessage(d, MSG_COMMAND_COMPLETE);
}

function freeTask(d: Lsi, s: Slot): void {
  s.slotState = SLOT_FREE;
  d.freeSlots |= slotBit(d, s);
}

function startQueued(d: Lsi, target: u32, lun: u32): void {
  if (d.queuedTasks == 0) return;
  for (let i: u32 = 0; i < <u32>LSI_TASKS; i++) {
    const s = slotAt(d, i);
    if (s.slotState != SLOT_QUEUED || s.target != target || s.lun != lun || mustWait(d, s)) continue;
    d.queuedTasks--;
    s.slotState = SLOT_RUNNING;
    scsiStart(s);
    if (isReady(s)) taskReady(d, s);
  }
}

/** Gives a task up at any moment; its initiator hears no more of it. */
function dropTask(d: Lsi, s: Slot): void {
  if (s.slotState == SLOT_QUEUED) d.queuedTasks--;
  else scsiAbort(s);
  if (s.pauses != 0) cancel(d, EVENT_RESUME, slotNumber(d, s));
  if (d.slot == slotNumber(d, s) + 1) d.slot = 0;
  d.wantsBus &= ~slotBit(d, s);
  trace(TRACE_COMPLETE, d.id, s.number, STATUS_TASK_ABORTED, 0, 0);
  freeTask(d, s);
}

/** Drops the tasks of a unit. */
export function dropTasks(d: Lsi, target: u32, lun: u32): void {
  for (let i: u32 = 0; i < <u32>LSI_TASKS; i++) {
    const s = slotAt(d, i);
    if (s.slotState != SLOT_FREE && s.target == target && s.lun == lun) dropTask(d, s);
  }
}

/** BUS DEVICE RESET, or the bus's reset: tasks, agreements and what the units remember are gone. */
function resetTarget(d: Lsi, target: u32): void {
  d.wideTargets &= ~(1 << target);
  // Units that the target does not have may hold tasks, too.
  for (let i: u32 = 0; i < <u32>LSI_TASKS; i++) {
    const s = slotAt(d, i);
    if (s.slotState != SLOT_FREE && s.target == target) dropTask(d, s);
  }
  for (let lun: u32 = 0; lun < <u32>LSI_UNITS; lun++) {
    const unit = load<u32>(unitPlace(d, target, lun));
    if (unit != 0) resetUnit(unitAt(unit));
  }
}

/** The RST line of the bus. */
export function resetBus(d: Lsi): void {
  for (let target: u32 = 0; target < <u32>LSI_TARGETS; target++) resetTarget(d, target);
  d.slot = 0;
  forgetBus(d);
}
