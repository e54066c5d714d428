// Adaptec AHA-1542B, C and CF: an ISA host adapter with 24 address lines that fetches its work from mailboxes.
// It has no registers but four ports; everything else goes through memory below 16 MiB. The bus cannot
// refuse it an access: where no memory is, it reads ones and loses what it writes.
//
// Bytes at the ports are processed at once, so "command/data port full" never shows; the self-test, the
// selection of absent targets and the media take virtual time.
//
// [1] AHA-1540B/1542B Technical Reference Manual
// [2] AHA-1540CF/1542CF Technical Reference Manual
// [3] AHA-1540CP Technical Reference Manual: commands 22h and up
// [4] SCSI-2, X3.131-1994; SPI-2, T10/1142-D
import { KIND_AHA1542, RESET_POWER_ON } from '../bus/codes';
import { createDevice, profileWord } from '../bus/device';
import { Request } from '../media/media';
import { scsiMediaData, scsiMediaDone } from '../scsi/task';
import { capacityChanged, createUnit, insertDisk, unitAt } from '../scsi/unit';
import {
  Aha1542,
  boardBytes,
  EVENT_MAIL,
  EVENT_SELECTION,
  interruptFlags,
  NO_COMMAND,
  resetInterrupt,
  SLOT_RUNNING,
  Slot,
  setPresent,
  slotAt,
  unitPlace,
} from './board';
import { proceed, pullUnit, selectionTimedOut } from './ccb';
import { readData, writeCommand } from './command';
import { deliver, pokeMail, scanOut } from './mailbox';
import {
  CONTROL_HRST,
  CONTROL_IRST,
  CONTROL_SCRST,
  CONTROL_SRST,
  PORT_COMMAND,
  PORT_CONTROL,
  PORT_DATA,
  PORT_INTERRUPT,
  PORT_SIGNATURE,
  PORT_STATUS,
  PROFILE_BIOS_FLAGS,
  PROFILE_BOARD,
  PROFILE_DMA,
  PROFILE_EXTENDED,
  PROFILE_FIRMWARE,
  PROFILE_HOST_ID,
  PROFILE_IRQ,
  PROFILE_LOCK,
  PROFILE_OPTIONS,
  PROFILE_SEGMENTS,
  PROFILE_SELF_TEST,
  PROFILE_THICK,
  PROFILE_VERSION,
  STATUS_DF,
  STATUS_IDLE,
  STATUS_STST,
  TARGETS,
  UNITS,
} from './regs';
import { hardReset, resetBus, selfTestOver, softReset } from './reset';

export { Aha1542 } from './board';

const NS_PER_US: u64 = 1000;

export function create(line: u32): u32 {
  const device = createDevice(KIND_AHA1542, boardBytes(), line);
  if (device == null) return 0;
  const d = changetype<Aha1542>(changetype<usize>(device));
  d.master = 1;
  d.decode = 1;
  d.irq = profileWord(PROFILE_IRQ);
  d.dmaChannel = profileWord(PROFILE_DMA);
  d.hostId = profileWord(PROFILE_HOST_ID);
  d.boardId = profileWord(PROFILE_BOARD);
  d.boardOptions = profileWord(PROFILE_OPTIONS);
  d.firmware = profileWord(PROFILE_FIRMWARE);
  d.version = profileWord(PROFILE_VERSION);
  d.extended = profileWord(PROFILE_EXTENDED);
  d.biosFlags = profileWord(PROFILE_BIOS_FLAGS);
  d.lockCode = profileWord(PROFILE_LOCK);
  d.maxSegments = profileWord(PROFILE_SEGMENTS);
  d.selfTest = profileWord(PROFILE_SELF_TEST) * NS_PER_US;
  d.thickDisks = profileWord(PROFILE_THICK);
  d.freeSlots = u64.MAX_VALUE;
  reset(d, RESET_POWER_ON);
  // The machine has been on for longer than the self-test takes.
  selfTestOver(d);
  return <u32>changetype<usize>(d);
}

/** Places are SCSI targets, units logical units; the board's own id is none. */
export function attach(d: Aha1542, place: u32, unit: u32, disk: u32): bool {
  if (place >= <u32>TARGETS || unit >= <u32>UNITS || place == d.hostId) return false;
  const at = unitPlace(d, place, unit);
  if (load<u32>(at) == 0) {
    const created = createUnit();
    if (created == 0) return false;
    unitAt(created).thick = d.thickDisks;
    store<u32>(at, created);
  }
  pullUnit(d, place, unit);
  insertDisk(unitAt(load<u32>(at)), disk);
  setPresent(d, place, unit, disk != 0);
  settle(d);
  return true;
}

/** A unit whose disk has another size says so to the next command. */
export function resized(d: Aha1542, disk: u32): void {
  for (let target: u32 = 0; target < <u32>TARGETS; target++) {
    for (let lun: u32 = 0; lun < <u32>UNITS; lun++) {
      const unit = load<u32>(unitPlace(d, target, lun));
      if (unit != 0 && unitAt(unit).disk == disk) capacityChanged(unitAt(unit));
    }
  }
}

/** An eight-bit board: wider accesses are split, and what lies behind its ports is not its own. */
export function read(d: Aha1542, at: u32, size: u32): u32 {
  let value: u32 = 0;
  for (let i: u32 = 0; i < size; i++) value |= readPort(d, at + i) << (8 * i);
  return value;
}

export function write(d: Aha1542, at: u32, size: u32, value: u32): void {
  for (let i: u32 = 0; i < size; i++) writePort(d, at + i, (value >>> (8 * i)) & 0xff);
  settle(d);
}

function readPort(d: Aha1542, at: u32): u32 {
  switch (at) {
    case PORT_STATUS:
      return status(d);
    case PORT_DATA:
      return readData(d);
    case PORT_INTERRUPT:
      pokeMail(d);
      return interruptFlags(d);
    case PORT_SIGNATURE:
      return signature(d);
    default:
      return 0xff;
  }
}

function writePort(d: Aha1542, at: u32, value: u32): void {
  if (at == PORT_COMMAND) writeCommand(d, value);
  else if (at == PORT_CONTROL) control(d, value);
}

/** Idle: no command at the port, none on the bus. */
function status(d: Aha1542): u32 {
  if (d.testing != 0) return STATUS_STST;
  let bits = d.latched;
  if (d.replyBytes > 0) bits |= STATUS_DF;
  else if (d.portCommand == NO_COMMAND && isIdle(d)) bits |= STATUS_IDLE;
  return bits;
}

function control(d: Aha1542, value: u32): void {
  if ((value & CONTROL_HRST) != 0) return hardReset(d, false);
  if ((value & CONTROL_SRST) != 0 && d.testing == 0) softReset(d);
  if ((value & CONTROL_IRST) != 0) {
    resetInterrupt(d);
    pokeMail(d);
  }
  if ((value & CONTROL_SCRST) != 0 && d.testing == 0) resetBus(d);
}

export function event(d: Aha1542, code: u32, tag: u32): void {
  if (code == EVENT_SELECTION) selectionTimedOut(d, slotAt(d, tag));
  else if (code == EVENT_MAIL) deliver(d);
  else selfTestOver(d);
  settle(d);
}

export function mediaData(d: Aha1542, r: Request): void {
  const s = running(d, r);
  d.command = s.number;
  scsiMediaData(s, r);
  proceed(d, s);
  settle(d);
}

export function mediaDone(d: Aha1542, r: Request): void {
  const s = running(d, r);
  scsiMediaDone(s, r);
  proceed(d, s);
  settle(d);
}

function running(d: Aha1542, r: Request): Slot {
  const s = slotAt(d, r.tag);
  assert(s.slotState == SLOT_RUNNING);
  return s;
}

/** The bus's reset line does what power on does, and locks the mailboxes. */
export function reset(d: Aha1542, kind: u32): void {
  d.lock = d.lockCode;
  hardReset(d, false);
}

/** Whether no CCB is open. */
function isIdle(d: Aha1542): bool {
  return d.freeSlots == u64.MAX_VALUE;
}

/** The C boards answer the letters A, D, A, P in turn, each with bit 0 inverted; a B board decodes nothing. */
function signature(d: Aha1542): u32 {
  if (d.extended == 0) return 0xff;
  const letter: u32 = d.signature == 1 ? 0x44 : d.signature == 3 ? 0x50 : 0x41;
  d.signature = (d.signature + 1) & 3;
  return letter ^ 1;
}

/** Mail that found no slot is taken once there is one. */
function settle(d: Aha1542): void {
  // Each round takes a mailbox, which frees it.
  if (d.rescan != 0 && d.freeSlots != 0) scanOut(d);
}
