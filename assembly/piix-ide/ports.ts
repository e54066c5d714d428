// The legacy ports of a channel: command block and control block ([2] 6 and volume 2, 7; references in channel.ts).
import { ataSoftReset } from '../ata/device';
import { isPacketDevice } from '../ata/packet';
import { ATA_DEVICE_RESET, ATA_STATUS_BSY, ATA_STATUS_DRQ, ATA_STATUS_GOOD } from '../ata/regs';
import { cancel, schedule } from '../bus/clock';
import {
  ataOf,
  Channel,
  Drive,
  driveAt,
  EVENT_READY,
  giveUp,
  isPresent,
  Piix,
  selectedDrive,
  showTaskFile,
  updateInterrupt,
} from './channel';
import { readData, takeCommand } from './command';
import {
  IDE_COMMAND,
  IDE_CONTROL_HOB,
  IDE_CONTROL_SRST,
  IDE_COUNT,
  IDE_DEVICE,
  IDE_DEVICE_SECOND,
  IDE_ERROR,
  IDE_FEATURE,
  IDE_FLOATING,
  IDE_FLOATING_WORD,
  IDE_LBA_HIGH,
  IDE_LBA_LOW,
  IDE_LBA_MID,
  IDE_STATUS,
} from './regs';

/** From the end of a software reset to ready drives. The host waits 2 ms before it looks ([2] volume 2, 9.2). */
const READY_NS: u64 = 1_000_000;

function isEmpty(c: Channel): bool {
  return !isPresent(driveAt(c, 0)) && !isPresent(driveAt(c, 1));
}

/** The data port, which is 16 bits wide. */
export function readPort16(d: Piix, c: Channel): u32 {
  return isEmpty(c) ? <u32>IDE_FLOATING_WORD : readData(d, c);
}

/** A register of the command block. */
export function readPort(d: Piix, c: Channel, at: u32): u32 {
  const v = responder(c);
  if (v === null) return IDE_FLOATING;
  if (at == IDE_STATUS) {
    const status = readStatus(c);
    if (v.number != c.selected) return status;
    v.pending = 0;
    updateInterrupt(d, c);
    return status;
  }
  const shift: u32 = (c.control & IDE_CONTROL_HOB) != 0 ? 8 : 0;
  switch (at) {
    case IDE_ERROR:
      return v.regError;
    case IDE_COUNT:
      return (v.regCount >>> shift) & 0xff;
    case IDE_LBA_LOW:
      return (v.regLow >>> shift) & 0xff;
    case IDE_LBA_MID:
      return (v.regMid >>> shift) & 0xff;
    case IDE_LBA_HIGH:
      return (v.regHigh >>> shift) & 0xff;
    default:
      return v.regDevice;
  }
}

/** The alternate status: the interrupt stays. */
export function readStatus(c: Channel): u32 {
  const v = responder(c);
  if (v === null) return IDE_FLOATING;
  return v.number == c.selected ? v.regStatus : 0;
}

/** Who drives the bus: the first drive answers for a second that is not there ([2] volume 2, 9.16.1). */
function responder(c: Channel): Drive | null {
  const v = selectedDrive(c);
  if (isPresent(v)) return v;
  const first = driveAt(c, 0);
  return isPresent(first) ? first : null;
}

/**
 * A write to the command block goes to both drives ([2] 6.1), and is void while the selected one has a command. That
 * holds for another command too: only a reset ends the first, DEVICE RESET of a drive that takes packets included.
 */
export function writePort(d: Piix, c: Channel, at: u32, value: u32): void {
  c.control &= ~IDE_CONTROL_HOB;
  const v = responder(c);
  if (v !== null && v.number == c.selected && (v.regStatus & (ATA_STATUS_BSY | ATA_STATUS_DRQ)) != 0) {
    const resets = at == IDE_COMMAND && value == ATA_DEVICE_RESET && (c.control & IDE_CONTROL_SRST) == 0;
    if (!resets || c.resetting != 0 || !isPacketDevice(ataOf(v))) return;
  }
  if (at == IDE_COMMAND) return takeCommand(d, c, value);
  for (let i: u32 = 0; i < 2; i++) latch(driveAt(c, i), at, value);
  if (at != IDE_DEVICE) return;
  c.selected = (value & IDE_DEVICE_SECOND) != 0 ? 1 : 0;
  updateInterrupt(d, c);
}

/** Registers hold what was written last and before that ([2] 6.2). */
function latch(v: Drive, at: u32, value: u32): void {
  switch (at) {
    case IDE_FEATURE:
      v.regFeature = push(v.regFeature, value);
      break;
    case IDE_COUNT:
      v.regCount = push(v.regCount, value);
      break;
    case IDE_LBA_LOW:
      v.regLow = push(v.regLow, value);
      break;
    case IDE_LBA_MID:
      v.regMid = push(v.regMid, value);
      break;
    case IDE_LBA_HIGH:
      v.regHigh = push(v.regHigh, value);
      break;
    default:
      v.regDevice = value;
  }
}

function push(register: u32, value: u32): u32 {
  return ((register << 8) | value) & 0xffff;
}

/** The device control register. A software reset lasts as long as its bit, and then until the drives are ready. */
export function writeControl(d: Piix, c: Channel, value: u32): void {
  const rises = (value & ~c.control & IDE_CONTROL_SRST) != 0;
  const falls = (~value & c.control & IDE_CONTROL_SRST) != 0;
  c.control = value;
  if (rises) beginReset(d, c);
  updateInterrupt(d, c);
  if (!falls) return;
  c.resetting = 1;
  if (!schedule(d, EVENT_READY, c.number, READY_NS)) endReset(c);
}

function beginReset(d: Piix, c: Channel): void {
  if (c.resetting != 0) cancel(d, EVENT_READY, c.number);
  c.resetting = 0;
  c.selected = 0;
  for (let i: u32 = 0; i < 2; i++) {
    giveUp(driveAt(c, i));
    driveAt(c, i).regStatus = ATA_STATUS_BSY | ATA_STATUS_GOOD;
  }
}

/** EVENT_READY: the signature is in the registers ([2] volume 2, 9.2). */
export function endReset(c: Channel): void {
  c.resetting = 0;
  for (let i: u32 = 0; i < 2; i++) {
    const v = driveAt(c, i);
    giveUp(v);
    ataSoftReset(ataOf(v));
    showTaskFile(v);
  }
}
