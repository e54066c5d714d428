// The board's block of state, and its interrupt.
//
// [1] AHA-1540B/1542B Technical Reference Manual
// [2] AHA-1540CF/1542CF Technical Reference Manual
import { Device } from '../bus/device';
import { setLine } from '../bus/irq';
import { ScsiTask, TASK_BUFFER_BYTES } from '../scsi/task';
import {
  INTERRUPT_ANY,
  INTERRUPT_HACC,
  SEGMENTS_MAX,
  SLOTS,
  STATUS_INIT,
  STATUS_INVDCMD,
  TARGETS,
  UNITS,
} from './regs';

/** Events: a selection timed out (tag: slot), the self-test is over, a mailbox may have become free. */
export const EVENT_SELECTION: u32 = 1;
export const EVENT_SELF_TEST: u32 = 2;
export const EVENT_MAIL: u32 = 3;

/** No command at the port. */
export const NO_COMMAND: u32 = 0xffff;

@unmanaged
export class Aha1542 extends Device {
  // Of the profile.
  dmaChannel: u32;
  irq: u32;
  hostId: u32;
  boardId: u32;
  boardOptions: u32;
  firmware: u32;
  version: u32;
  /** Non-zero: commands 22h to 29h, and the signature at port 3. */
  extended: u32;
  biosFlags: u32;
  lockCode: u32;
  maxSegments: u32;
  /** ns that the self-test takes. */
  selfTest: u64;
  /** Non-zero: disks are provisioned fully, and say so. */
  thickDisks: u32;

  /** STATUS_INIT and STATUS_INVDCMD as they stand; the other status bits follow from the rest. */
  latched: u32;
  testing: u32;
  /** The diagnostic command: command complete at the end of the self-test. */
  testReports: u32;
  /** Interrupt flags that the port shows, and those held back until the command-complete one is reset. */
  flags: u32;
  deferred: u32;
  signature: u32;

  // Command port.
  portCommand: u32;
  parameters: u32;
  expected: u32;
  replyAt: u32;
  replyBytes: u32;

  // What commands set.
  lock: u32;
  mailboxes: u32;
  mailboxAddress: u32;
  nextOut: u32;
  nextIn: u32;
  reportsEmpty: u32;
  /** Non-zero: a START SCSI found more mail than the board could keep. */
  rescan: u32;
  mailRetries: u32;
  /** ns, 0: selections never time out. */
  selectionTimeout: u64;
  busOn: u32;
  busOff: u32;
  speed: u32;
  disconnect: u32;
  /** Units at which the board answers as a target, a bit each; 0: target mode is off. */
  targetUnits: u32;
  biosMailbox: u32;

  // Open commands.
  /** In the order in which they came and went. */
  sequence: u32;
  /** A bit each: slots that are free, that wait for their unit, and for an in mailbox. */
  freeSlots: u64;
  queuedSlots: u64;
  doneSlots: u64;
}

export const SLOT_FREE: u32 = 0;
/** Waits for an earlier command to the same unit: without tags a unit takes one at a time. */
export const SLOT_QUEUED: u32 = 1;
/** Selects a target that isn't there. */
export const SLOT_SELECTING: u32 = 2;
export const SLOT_RUNNING: u32 = 3;
/** A target-mode CCB: waits for an initiator, and there is none. */
export const SLOT_TARGET: u32 = 4;
/** Over; waits for an in mailbox. */
export const SLOT_DONE: u32 = 5;

@unmanaged
export class Slot extends ScsiTask {
  slotState: u32;
  /** The board's number of the command, as findings and events have it. */
  number: u32;
  /** When it came, and later when it ended. */
  order: u32;
  ccb: u32;
  opcode: u32;
  target: u32;
  lun: u32;
  control: u32;
  senseLength: u32;
  cdbBytes: u32;
  dataLength: u32;
  dataPointer: u32;
  /** Segments in the list behind this structure, and their bytes in all. */
  segments: u32;
  capacity: u32;
  /** MBI_*: how it ended. */
  mail: u32;
}

// Behind the board: 64 units, 64 bytes that say which slot (+1) a unit works for, a byte a target with a bit
// for each unit that is there, the buffers of the port, then the slots. Each slot is followed by its segments and its data buffer.
const UNITS_BYTES: u32 = TARGETS * UNITS * 4;
const BUSY_BYTES: u32 = TARGETS * UNITS;
const AT_BUSY: u32 = UNITS_BYTES;
const AT_PRESENT: u32 = AT_BUSY + BUSY_BYTES;
const AT_PARAMETERS: u32 = AT_PRESENT + 64;
const AT_REPLY: u32 = AT_PARAMETERS + 256;
const AT_BUFFER: u32 = AT_REPLY + 256;
const AT_FIFO: u32 = AT_BUFFER + 64;
const AT_EEPROM: u32 = AT_FIFO + 64;
const AT_SLOTS: u32 = AT_EEPROM + 64;
const SEGMENT_ENTRY: u32 = 8;

function boardEnd(): u32 {
  return (offsetof<Aha1542>() + 15) & ~15;
}

function slotEnd(): u32 {
  return (offsetof<Slot>() + 15) & ~15;
}

function slotBytes(): u32 {
  return (slotEnd() + SEGMENTS_MAX * SEGMENT_ENTRY + TASK_BUFFER_BYTES + 15) & ~15;
}

/** Bytes of a board's block. */
export function boardBytes(): u32 {
  return boardEnd() + AT_SLOTS + SLOTS * slotBytes();
}

function area(d: Aha1542, at: u32): usize {
  return changetype<usize>(d) + boardEnd() + at;
}

export function slotNumber(d: Aha1542, s: Slot): u32 {
  return <u32>(changetype<usize>(s) - changetype<usize>(slotAt(d, 0))) / slotBytes();
}

/** Where the offset of a logical unit stands. */
export function unitPlace(d: Aha1542, target: u32, lun: u32): usize {
  return area(d, (target * UNITS + lun) * 4);
}

/** Where it stands which slot a unit works for. */
export function busyPlace(d: Aha1542, target: u32, lun: u32): usize {
  return area(d, AT_BUSY + target * UNITS + lun);
}

export function parametersOf(d: Aha1542): usize {
  return area(d, AT_PARAMETERS);
}

export function replyOf(d: Aha1542): usize {
  return area(d, AT_REPLY);
}

export function channelBuffer(d: Aha1542): usize {
  return area(d, AT_BUFFER);
}

export function fifoOf(d: Aha1542): usize {
  return area(d, AT_FIFO);
}

export function eepromOf(d: Aha1542): usize {
  return area(d, AT_EEPROM);
}

export function slotAt(d: Aha1542, i: u32): Slot {
  return changetype<Slot>(area(d, AT_SLOTS + i * slotBytes()));
}

export function slotBuffer(s: Slot): usize {
  return changetype<usize>(s) + slotEnd() + SEGMENTS_MAX * SEGMENT_ENTRY;
}

/** Where segment `i` of a slot stands: address, then length. */
export function segmentAt(s: Slot, i: u32): usize {
  return changetype<usize>(s) + slotEnd() + i * SEGMENT_ENTRY;
}

/** The logical units of a target, a bit each. */
export function unitsOf(d: Aha1542, target: u32): u32 {
  return load<u8>(area(d, AT_PRESENT + target));
}

export function setPresent(d: Aha1542, target: u32, lun: u32, present: bool): void {
  const bit: u32 = 1 << lun;
  store<u8>(
    area(d, AT_PRESENT + target),
    <u8>(present ? unitsOf(d, target) | bit : unitsOf(d, target) & ~bit),
  );
}

/** The bit of a slot in the sets of slots. */
export function slotBit(d: Aha1542, s: Slot): u64 {
  return (<u64>1) << (<u64>slotNumber(d, s));
}

/** The slot of a set that came first; the set is not empty. */
export function earliest(d: Aha1542, slots: u64): Slot {
  let found = slotAt(d, <u32>ctz(slots));
  // Each round takes a bit out of the set.
  for (let left = slots & (slots - 1); left != 0; left &= left - 1) {
    const s = slotAt(d, <u32>ctz(left));
    if (<i32>(s.order - found.order) < 0) found = s;
  }
  return found;
}

/**
 * Sets interrupt flags. While a command-complete flag stands, flags of mailboxes wait until the host has
 * reset it: what the host waits for is then not mixed with what it doesn't.
 */
export function interrupt(d: Aha1542, flags: u32): void {
  if ((d.flags & INTERRUPT_HACC) != 0 && (flags & INTERRUPT_HACC) == 0) {
    d.deferred |= flags;
    return;
  }
  d.flags |= flags;
  setLine(d, true);
}

/** The host resets the interrupt, [1] 1.4.1: flags and INVDCMD go; what was held back comes. */
export function resetInterrupt(d: Aha1542): void {
  setLine(d, false);
  d.latched &= ~STATUS_INVDCMD;
  d.flags = d.deferred;
  d.deferred = 0;
  if (d.flags != 0) setLine(d, true);
}

export function interruptFlags(d: Aha1542): u32 {
  return d.flags == 0 ? 0 : d.flags | INTERRUPT_ANY;
}

/** Whether the mailboxes are set up. */
export function isReady(d: Aha1542): bool {
  return (d.latched & STATUS_INIT) == 0;
}
