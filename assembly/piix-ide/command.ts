// Commands: from the command register to the drive, their data by PIO or bus master, and their end ([2] volume 2, 9:
// the protocols; references in channel.ts).
import { ataBegin, ataCommand, ataMediaDone, movesData } from '../ata/command';
import {
  abort,
  ataBuffer,
  diskOfAta,
  PROTOCOL_PIO_IN,
  PROTOCOL_PIO_OUT,
  STEP_BUFFER_IN,
  STEP_BUFFER_OUT,
  STEP_DATA,
  STEP_END,
  STEP_MEDIA,
  STEP_PACKET,
  STEP_SILENT,
  STEP_WAIT,
  setSignature,
  succeed,
  toHost,
} from '../ata/device';
import { isPacketDevice, packetMedia, packetOf, takesPacket } from '../ata/packet';
import {
  ATA_DEVICE_RESET,
  ATA_EXECUTE_DIAGNOSTIC,
  ATA_STATUS_BSY,
  ATA_STATUS_DRQ,
  ATA_STATUS_GOOD,
} from '../ata/regs';
import { ataBufferFilled } from '../ata/trim';
import { cancel, schedule } from '../bus/clock';
import { moveBuffer, moveEnd, moveInside, moveRequest } from '../bus/mover';
import { trace } from '../bus/trace';
import { TRACE_COMMAND, TRACE_COMPLETE } from '../bus/trace-codes';
import { MEDIA_OK, MEDIA_PENDING } from '../media/codes';
import { diskOf, endRequest, finishRequest, Request } from '../media/media';
import { scsiMove, scsiMoved } from '../scsi/task';
import {
  ataOf,
  Channel,
  channelAt,
  Drive,
  driveAt,
  EVENT_RETRY,
  giveUp,
  isPresent,
  nameCommand,
  PHASE_BUSY,
  PHASE_DMA,
  PHASE_IDLE,
  PHASE_PIO,
  PHASE_STALLED,
  Piix,
  requestTag,
  selectedDrive,
  showTaskFile,
  updateInterrupt,
} from './channel';
import { isReady, WALK_FAULT, WALK_OK, WALK_SHORT, walkTable } from './master';
import { blockDone, continuePacket, endData } from './packet';

/** How long a command waits before it asks for a media request again. */
const RETRY_NS: u64 = 10_000;

/** A write to the command register: the selected drive takes it, if it is there and not busy. */
export function takeCommand(d: Piix, c: Channel, code: u32): void {
  if (code == ATA_EXECUTE_DIAGNOSTIC) return diagnose(d, c);
  const v = selectedDrive(c);
  if (!isPresent(v)) return;
  v.pending = 0;
  updateInterrupt(d, c);
  v.command = code;
  v.feature = v.regFeature;
  v.count = v.regCount;
  v.device = v.regDevice;
  const low = (v.regLow & 0xff) | ((v.regMid & 0xff) << 8) | ((v.regHigh & 0xff) << 16);
  const high = (v.regLow >>> 8) | (v.regMid & 0xff00) | ((v.regHigh & 0xff00) << 8);
  v.lba = ((<u64>high) << 24) | low;
  v.first = 1;
  // DEVICE RESET ends the command under way, and does not interrupt ([2], DEVICE RESET).
  const resets = code == ATA_DEVICE_RESET && isPacketDevice(ataOf(v));
  if (resets) giveUp(v);
  nameCommand(d, c, v);
  d.commands++;
  const step = ataCommand(ataOf(v), v);
  trace(TRACE_COMMAND, d.id, d.command, code, <u32>v.lba, v.sectors);
  if (resets) return end(d, c, v, false);
  busy(v);
  advance(d, c, v, step);
}

/** EXECUTE DEVICE DIAGNOSTIC: both drives do it, and the first one interrupts ([2] 6.10). */
function diagnose(d: Piix, c: Channel): void {
  if (!isPresent(driveAt(c, 0)) && !isPresent(driveAt(c, 1))) return;
  d.commands++;
  d.completions++;
  for (let i: u32 = 0; i < 2; i++) {
    const v = driveAt(c, i);
    if (!isPresent(v)) continue;
    setSignature(ataOf(v));
    showTaskFile(v);
    v.pending = i == 0 ? 1 : 0;
  }
  c.selected = 0;
  updateInterrupt(d, c);
}

export function busy(v: Drive): void {
  v.phase = PHASE_BUSY;
  v.regStatus = ATA_STATUS_BSY | ATA_STATUS_GOOD;
}

/** Does what the drive asks for next. */
export function advance(d: Piix, c: Channel, v: Drive, step: u32): void {
  if (step == STEP_END) {
    end(d, c, v, true);
  } else if (step == STEP_MEDIA) {
    if (v.protocol == PROTOCOL_PIO_OUT && movesData(v)) askBlock(d, c, v);
    else startMedia(d, c, v);
  } else if (step == STEP_BUFFER_IN && isPio(v)) {
    v.after = succeed(ataOf(v), v);
    offerBlock(d, c, v, <u32>ataBuffer(ataOf(v)), v.bytes);
  } else if (step == STEP_PACKET || step == STEP_WAIT || step == STEP_DATA) {
    continuePacket(d, c, v, step);
  } else if (step != STEP_SILENT) {
    assert(!isPio(v) && (step == STEP_BUFFER_IN || step == STEP_BUFFER_OUT));
    waitForMaster(d, c, v);
  }
  // A drive that sleeps answers to nothing but a reset.
}

export function isPio(v: Drive): bool {
  return v.protocol == PROTOCOL_PIO_IN || v.protocol == PROTOCOL_PIO_OUT;
}

function startMedia(d: Piix, c: Channel, v: Drive): void {
  const a = ataOf(v);
  const sectors = isPio(v) && movesData(v) ? v.block >>> diskOfAta(a).sectorShift : v.sectors;
  const r = ataBegin(d, a, v, sectors, requestTag(c, v));
  if (r !== null) {
    v.request = <u32>changetype<usize>(r);
    return;
  }
  cancel(d, EVENT_RETRY, c.number);
  if (schedule(d, EVENT_RETRY, c.number, RETRY_NS)) {
    v.waiting = 1;
  } else {
    abort(a, v);
    end(d, c, v, true);
  }
}

/** EVENT_RETRY: a command that found no free request asks again. */
export function retryWaiting(d: Piix, c: Channel): void {
  for (let i: u32 = 0; i < 2; i++) {
    const v = driveAt(c, i);
    if (v.waiting == 0) continue;
    v.waiting = 0;
    startMedia(d, c, v);
  }
}

// PIO.

/** Puts a block up for the host to read ([2] volume 2, 9.5): every one interrupts. */
export function offerBlock(d: Piix, c: Channel, v: Drive, buffer: u32, bytes: u32): void {
  openBlock(v, buffer, bytes);
  v.pending = 1;
  updateInterrupt(d, c);
}

/** Asks for the next block of a write ([2] volume 2, 9.6): every one but the first interrupts. */
function askBlock(d: Piix, c: Channel, v: Drive): void {
  const shift = diskOfAta(ataOf(v)).sectorShift;
  openBlock(v, v.sectorBuffer, min(v.block, v.sectors << shift));
  v.pending = v.first ^ 1;
  v.first = 0;
  updateInterrupt(d, c);
}

export function openBlock(v: Drive, buffer: u32, bytes: u32): void {
  v.phase = PHASE_PIO;
  v.regStatus = ATA_STATUS_GOOD | ATA_STATUS_DRQ;
  v.buffer = buffer;
  v.position = 0;
  v.blockBytes = bytes;
}

/** A word from the data port. Without a block there is nothing to read. */
export function readData(d: Piix, c: Channel): u32 {
  const v = selectedDrive(c);
  if (v.phase != PHASE_PIO || v.protocol != PROTOCOL_PIO_IN) return 0xffff;
  const word = <u32>load<u16>(<usize>v.buffer + v.position);
  v.position += 2;
  if (v.position >= v.blockBytes) {
    if (takesPacket(ataOf(v), v)) {
      blockDone(d, c, v);
      return word;
    }
    busy(v);
    // The last block was announced by its interrupt: none follows.
    if (v.after == STEP_END) end(d, c, v, false);
    else advance(d, c, v, v.after);
  }
  return word;
}

export function writeData(d: Piix, c: Channel, word: u32): void {
  const v = selectedDrive(c);
  if (v.phase != PHASE_PIO || v.protocol != PROTOCOL_PIO_OUT) return;
  store<u16>(<usize>v.buffer + v.position, <u16>word);
  v.position += 2;
  if (v.position < v.blockBytes) return;
  if (takesPacket(ataOf(v), v)) return blockDone(d, c, v);
  busy(v);
  startMedia(d, c, v);
}

// Bus master.

export function waitForMaster(d: Piix, c: Channel, v: Drive): void {
  v.phase = PHASE_DMA;
  runMaster(d, c, v);
}

/** Moves the data of a drive that is ready for it through a bus master that is. */
export function runMaster(d: Piix, c: Channel, v: Drive): void {
  if (v.phase != PHASE_DMA || !isReady(c, toHost(v))) return;
  nameCommand(d, c, v);
  const in_ = toHost(v);
  let bytes = v.bytes;
  const packet = takesPacket(ataOf(v), v);
  if (packet) {
    scsiMove(packetOf(ataOf(v)), 0);
  } else if (v.request != 0) {
    const r = changetype<Request>(<usize>v.request);
    bytes = r.sectors << diskOf(r).sectorShift;
    moveRequest(r, 0, in_);
  } else {
    moveBuffer(ataBuffer(ataOf(v)), in_);
  }
  const outcome = walkTable(d, c, bytes);
  // What was read from memory before a fault is not sent: the medium keeps what it had.
  if (outcome == WALK_OK || (in_ && outcome != WALK_FAULT)) {
    if (packet) scsiMoved(packetOf(ataOf(v)));
    else moveEnd();
  }
  if (outcome == WALK_SHORT && d.lenient != 0) {
    giveUp(v);
    succeed(ataOf(v), v);
    return end(d, c, v, false);
  }
  if (outcome != WALK_OK) return stall(v);
  busy(v);
  if (packet) endData(d, c, v, bytes);
  else if (v.request != 0) finishMedia(d, c, v, changetype<Request>(<usize>v.request));
  else if (in_) advance(d, c, v, succeed(ataOf(v), v));
  else advance(d, c, v, ataBufferFilled(ataOf(v), v));
}

/** The drive still has data to move, and nobody moves them: no interrupt comes ([3] 2.2). */
function stall(v: Drive): void {
  giveUp(v);
  v.phase = PHASE_STALLED;
  v.regStatus = ATA_STATUS_GOOD | ATA_STATUS_DRQ;
}

// The medium.

/** EVENT_MEDIA_DATA. */
export function mediaData(d: Piix, r: Request): void {
  const c = channelAt(d, r.tag >>> 1);
  const v = driveAt(c, r.tag & 1);
  nameCommand(d, c, v);
  if (takesPacket(ataOf(v), v)) return advance(d, c, v, packetMedia(ataOf(v), v, r, false));
  if (!movesData(v)) return finishMedia(d, c, v, r);
  if (!isPio(v)) return waitForMaster(d, c, v);
  moveRequest(r, 0, v.protocol == PROTOCOL_PIO_IN);
  moveInside(v.sectorBuffer, r.sectors << diskOf(r).sectorShift);
  moveEnd();
  finishMedia(d, c, v, r);
}

function finishMedia(d: Piix, c: Channel, v: Drive, r: Request): void {
  const status = finishRequest(r);
  if (status != MEDIA_PENDING) endMedia(d, c, v, r, status);
}

/** EVENT_MEDIA_DONE. */
export function mediaDone(d: Piix, r: Request): void {
  const c = channelAt(d, r.tag >>> 1);
  const v = driveAt(c, r.tag & 1);
  nameCommand(d, c, v);
  if (takesPacket(ataOf(v), v)) return advance(d, c, v, packetMedia(ataOf(v), v, r, true));
  endMedia(d, c, v, r, r.status);
}

function endMedia(d: Piix, c: Channel, v: Drive, r: Request, status: u32): void {
  const bytes = r.sectors << diskOf(r).sectorShift;
  const step = ataMediaDone(ataOf(v), v, r, status);
  endRequest(r);
  v.request = 0;
  if (v.protocol != PROTOCOL_PIO_IN || status != MEDIA_OK) return advance(d, c, v, step);
  v.after = step;
  offerBlock(d, c, v, v.sectorBuffer, bytes);
}

function end(d: Piix, c: Channel, v: Drive, interrupts: bool): void {
  v.phase = PHASE_IDLE;
  showTaskFile(v);
  d.completions++;
  trace(TRACE_COMPLETE, d.id, requestTag(c, v), v.regStatus, 0, 0);
  if (!interrupts) return;
  v.pending = 1;
  updateInterrupt(d, c);
}
