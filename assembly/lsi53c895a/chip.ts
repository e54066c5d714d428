// The chip's block of state: its registers as software sees them, what the SCRIPTS processor waits for, the SCSI bus
// and the commands that the targets on it hold.
//
// [1] LSI53C895A Technical Manual, S14028.B
// [2] SPI-2, T10/1142-D
import { schedule } from '../bus/clock';
import { Device } from '../bus/device';
import { ScsiTask, TASK_BUFFER_BYTES } from '../scsi/task';
import { LSI_DBC, LSI_TARGETS, LSI_TASKS, LSI_UNITS } from './regs';
import { SCRIPT_BLOCK_MOVE, SCRIPT_TYPE } from './scripts';

/** Events: the processor goes on; arbitration, selection, reselection; timers; a target goes on (tag: slot). */
export const EVENT_RUN: u32 = 1;
export const EVENT_ARBITRATE: u32 = 2;
export const EVENT_SELECTION: u32 = 3;
export const EVENT_RESELECT: u32 = 4;
export const EVENT_GENERAL: u32 = 5;
export const EVENT_HANDSHAKE: u32 = 6;
export const EVENT_RESUME: u32 = 7;

/** What the instruction in hand waits for. */
export const WAIT_NOTHING: u32 = 0;
/** A target's REQ. */
export const WAIT_PHASE: u32 = 1;
export const WAIT_BUS_FREE: u32 = 2;
export const WAIT_RESELECTION: u32 = 3;
/** WAIT SELECT: no other initiator is on the bus. */
export const WAIT_SELECTION: u32 = 4;
export const WAIT_ARBITRATION: u32 = 5;

/** `target` while the bus is free. */
export const NOBODY: u32 = 0xff;
/** `status` before the command has one. */
export const NO_STATUS: u32 = 0x100;

/** Bytes of the longest message that a target keeps; of longer ones it knows the length only. */
export const MESSAGE_MAX: u32 = 16;
export const CDB_MAX: u32 = 16;

@unmanaged
export class Lsi extends Device {
  // Of the profile.
  /** Offset of the RAM for SCRIPTS, 0: none. */
  ram: u32;
  wide: u32;
  loadStore: u32;
  mismatchJumps: u32;
  dualAddress: u32;
  /** Bytes after which a target disconnects, 0: never in the middle of data. */
  burst: u32;

  // SCRIPTS processor.
  running: u32;
  /** Non-zero while EVENT_RUN is in the queue. */
  queued: u32;
  /** Non-zero while instructions are executed. */
  executing: u32;
  waiting: u32;
  /** Instructions since anything but the program itself moved, and what the present run of them took. */
  steps: u32;
  spent: u32;
  carry: u32;
  /** Address of the instruction in hand, and the upper half of its data address. */
  instruction: u32;
  high: u32;
  /** RBC's upper byte after a phase mismatch. */
  entryHigh: u32;
  /** Non-zero once the block move in hand has moved a byte. */
  begun: u32;

  // Interrupts.
  /** Second level: SIST0, SIST1 and DSTAT in three bytes ([1] 2.2.16.5). */
  stacked: u32;
  /** What holds the interrupt pin: SIST0, SIST1, DSTAT, and ISTAT0.INTF in bit 24. */
  cause: u32;

  // SCSI bus, as the target in `target` drives it.
  target: u32;
  phase: u32;
  req: u32;
  /** ACK of a message's last byte, which SCRIPTS take back ([1] 5.2). */
  ack: u32;
  atn: u32;
  /** Non-zero: a nexus ended, and SCRIPTS have not waited for that, nor gone for another one. */
  parted: u32;
  /** Non-zero while an absent target is being selected, and where EVENT_RESELECT is in the queue. */
  selecting: u32;
  reselecting: u32;
  /** Non-zero: the bus was busy at the end of an arbitration, and the chip tries again once it is free. */
  contends: u32;
  /** Non-zero while EVENT_HANDSHAKE is in the queue. */
  watching: u32;
  /** Selected without ATN, and nothing moved yet. */
  fresh: u32;
  /** Non-zero: the selection came from SCNTL0.START and ends with the CMP interrupt. */
  lowLevel: u32;

  // The nexus.
  identified: u32;
  lun: u32;
  tagKind: u32;
  tag: u32;
  privilege: u32;
  /** Number + 1 of the slot, 0: no command yet. */
  slot: u32;
  status: u32;
  statusSent: u32;
  /** Non-zero: the bus is let go of after the messages that are on their way. */
  leaves: u32;
  /** Data bytes since the target took the bus. */
  sinceConnect: u32;
  /** Messages to the chip: bytes taken, bytes in all; the last one, should it be refused or asked for again. */
  inAt: u32;
  inBytes: u32;
  lastIn: u32;
  lastBytes: u32;
  outBytes: u32;
  outLength: u32;
  cdbBytes: u32;

  // Tasks, a bit a slot.
  sequence: u32;
  /** How many wait behind an ordered task. */
  queuedTasks: u32;
  freeSlots: u64;
  wantsBus: u64;
  /** Targets that agreed to 16 bits, a bit each. */
  wideTargets: u32;
}

export const SLOT_FREE: u32 = 0;
/** Behind an ordered task, or ordered itself and not yet its turn. */
export const SLOT_QUEUED: u32 = 1;
export const SLOT_RUNNING: u32 = 2;

@unmanaged
export class Slot extends ScsiTask {
  slotState: u32;
  number: u32;
  order: u32;
  target: u32;
  lun: u32;
  tagKind: u32;
  tagValue: u32;
  /** The id that selected, whom the target reselects; whether it may disconnect. */
  initiator: u32;
  privilege: u32;
  /** Data bytes so far, and those up to the last SAVE DATA POINTERS. */
  at: u32;
  saved: u32;
  /** Non-zero while the target catches its breath (EVENT_RESUME). */
  pauses: u32;
  /** Non-zero from the end of the data until the medium has it: the target stays on the bus, for no time passes. */
  settles: u32;
}

// Behind the chip: registers, messages and descriptor block of the nexus, the units, a byte a target with a bit for
// each unit that is there, the slots. Each slot is followed by its data buffer.
const REGISTER_BYTES: u32 = 256;
const AT_MESSAGE_IN: u32 = REGISTER_BYTES;
const AT_MESSAGE_OUT: u32 = AT_MESSAGE_IN + MESSAGE_MAX;
const AT_CDB: u32 = AT_MESSAGE_OUT + MESSAGE_MAX;
const AT_UNITS: u32 = AT_CDB + CDB_MAX;
const AT_PRESENT: u32 = AT_UNITS + LSI_TARGETS * LSI_UNITS * 4;
const AT_SLOTS: u32 = AT_PRESENT + LSI_TARGETS;

function chipEnd(): u32 {
  return (offsetof<Lsi>() + 15) & ~15;
}

function slotEnd(): u32 {
  return (offsetof<Slot>() + 15) & ~15;
}

function slotBytes(): u32 {
  return slotEnd() + TASK_BUFFER_BYTES;
}

/** Bytes of a chip's block. */
export function chipBytes(): u32 {
  return chipEnd() + AT_SLOTS + LSI_TASKS * slotBytes();
}

function area(d: Lsi, at: u32): usize {
  return changetype<usize>(d) + chipEnd() + at;
}

export function registersOf(d: Lsi): usize {
  return area(d, 0);
}

export function clearRegisters(d: Lsi): void {
  memory.fill(area(d, 0), 0, REGISTER_BYTES);
}

// Registers without their side effects.
export function get8(d: Lsi, at: u32): u32 {
  return load<u8>(area(d, at));
}

export function get32(d: Lsi, at: u32): u32 {
  return load<u32>(area(d, at));
}

export function set8(d: Lsi, at: u32, value: u32): void {
  store<u8>(area(d, at), <u8>value);
}

export function set32(d: Lsi, at: u32, value: u32): void {
  store<u32>(area(d, at), value);
}

export function setBits(d: Lsi, at: u32, bits: u32): void {
  set8(d, at, get8(d, at) | bits);
}

export function clearBits(d: Lsi, at: u32, bits: u32): void {
  set8(d, at, get8(d, at) & ~bits);
}

export function messageIn(d: Lsi): usize {
  return area(d, AT_MESSAGE_IN);
}

export function messageOut(d: Lsi): usize {
  return area(d, AT_MESSAGE_OUT);
}

export function cdbPlace(d: Lsi): usize {
  return area(d, AT_CDB);
}

/** Where the offset of a logical unit stands. */
export function unitPlace(d: Lsi, target: u32, lun: u32): usize {
  return area(d, AT_UNITS + (target * LSI_UNITS + lun) * 4);
}

/** The logical units of a target, a bit each. */
export function unitsOf(d: Lsi, target: u32): u32 {
  return load<u8>(area(d, AT_PRESENT + target));
}

export function setPresent(d: Lsi, target: u32, lun: u32, present: bool): void {
  const bit: u32 = 1 << lun;
  const units = unitsOf(d, target);
  store<u8>(area(d, AT_PRESENT + target), <u8>(present ? units | bit : units & ~bit));
}

export function slotAt(d: Lsi, i: u32): Slot {
  return changetype<Slot>(area(d, AT_SLOTS + i * slotBytes()));
}

export function slotNumber(d: Lsi, s: Slot): u32 {
  return <u32>(changetype<usize>(s) - area(d, AT_SLOTS)) / slotBytes();
}

export function slotBuffer(s: Slot): usize {
  return changetype<usize>(s) + slotEnd();
}

/** The bit of a slot in the sets of slots. */
export function slotBit(d: Lsi, s: Slot): u64 {
  return (<u64>1) << (<u64>slotNumber(d, s));
}

export function isConnected(d: Lsi): bool {
  return d.target != NOBODY;
}

/** Has the processor go on if there is anything to do for it; nothing when the event queue is full. */
export function wake(d: Lsi): void {
  if (d.running == 0 || d.queued != 0 || d.executing != 0 || stillWaits(d)) return;
  if (schedule(d, EVENT_RUN, 0, 0)) d.queued = 1;
}

/** Whether the instruction in hand waits for something that has not come. A block move does not wait on a free bus. */
export function stillWaits(d: Lsi): bool {
  switch (d.waiting) {
    case WAIT_NOTHING:
      return false;
    case WAIT_PHASE:
      return d.req == 0 && (isConnected(d) || d.selecting != 0 || !isBlockMove(d));
    case WAIT_BUS_FREE:
      return isConnected(d) && d.parted == 0;
    default:
      return true;
  }
}

/** Whether the instruction in hand is a block move. */
export function isBlockMove(d: Lsi): bool {
  return (get32(d, LSI_DBC) & SCRIPT_TYPE) == SCRIPT_BLOCK_MOVE;
}
