// Commands: from PxCI to the device, their data, and their end ([1] 5.3, 5.4, 5.6; references in hba.ts).
import { ataBegin, ataCommand, ataMediaDone, movesData } from '../ata/command';
import {
  abort,
  ataBuffer,
  ataSoftReset,
  isQueued,
  PROTOCOL_PIO_IN,
  PROTOCOL_PIO_OUT,
  STEP_BUFFER_IN,
  STEP_BUFFER_OUT,
  STEP_END,
  STEP_MEDIA,
  STEP_PACKET,
  STEP_SILENT,
  showTask,
  succeed,
  toHost,
} from '../ata/device';
import { takesPacket } from '../ata/packet';
import { ATA_CONTROL_SRST, ATA_STATUS_BSY, ATA_STATUS_DF, ATA_STATUS_DRQ, ATA_STATUS_ERR } from '../ata/regs';
import { ataBufferFilled } from '../ata/trim';
import { schedule } from '../bus/clock';
import { DMA_OK } from '../bus/codes';
import { dmaFetch, dmaStore } from '../bus/dma';
import { moveBuffer, moveEnd, moveRequest } from '../bus/mover';
import { trace } from '../bus/trace';
import { TRACE_COMMAND, TRACE_COMPLETE } from '../bus/trace-codes';
import { MEDIA_OK, MEDIA_PENDING } from '../media/codes';
import { diskOf, endRequest, finishRequest, Request } from '../media/media';
import { coalesce } from './coalesce';
import { giveUp, hostError, interfaceError } from './errors';
import { postDmaSetup, postPioSetup, postRegister, postSetBits } from './fis';
import {
  Ahci,
  ataOf,
  EVENT_RETRY,
  fisScratch,
  headerScratch,
  NO_SLOT,
  nameCommand,
  Port,
  portAt,
  portOf,
  raise,
  reach,
  requestTag,
  Slot,
  slotAt,
} from './hba';
import { isUp, signature } from './link';
import { mediaOfPacket, sendPacket } from './packet';
import {
  AHCI_CMD_ST,
  AHCI_GHC_AE,
  AHCI_HEADER_BYTES,
  AHCI_HEADER_CFL_MASK,
  AHCI_HEADER_CLEAR_BUSY,
  AHCI_HEADER_PRDBC,
  AHCI_HEADER_PRDTL_SHIFT,
  AHCI_HEADER_TABLE,
  AHCI_IS_DHRS,
  AHCI_IS_PSS,
  AHCI_IS_SDBS,
  AHCI_IS_TFES,
  AHCI_TABLE_ALIGN,
  FIS_COMMAND,
  FIS_REGISTER_H2D,
} from './regs';
import { TABLE_FAULT, TABLE_OK, walkTable } from './table';

/** How long a command waits before it asks for a media request again. */
const RETRY_NS: u64 = 10_000;
/** Dwords of a Register FIS: the shortest table that a device takes a command from. */
const REGISTER_DWORDS: u32 = 5;
const FIS_DWORDS_MAX: u32 = 16;

/**
 * Sends what PxCI asks for to the device, until it is busy or nothing is left. Every turn clears a bit of PxCI,
 * makes the device busy or stops the port, so there are at most 32.
 */
export function runPort(d: Ahci, p: Port): void {
  while (p.ci != 0 && (p.cmd & AHCI_CMD_ST) != 0 && p.stopped == 0) {
    if ((d.ghc & AHCI_GHC_AE) == 0 || !isUp(p)) return;
    if ((p.tfd & (ATA_STATUS_BSY | ATA_STATUS_DRQ)) != 0) return;
    p.current = nextSlot(p);
    nameCommand(d, p, p.current);
    issue(d, p, p.current);
  }
}

/** Slots take turns, beginning with slot 0 when the list is started ([1] 5.3, P:SelectCmd). */
function nextSlot(p: Port): u32 {
  const later = p.next == 32 ? 0 : p.ci & ((<u32>0xffffffff) << p.next);
  const slot = <u32>ctz(later != 0 ? later : p.ci);
  p.next = slot + 1;
  return slot;
}

/** Fetches a command's header and frame, once, and gives it to the device. */
function issue(d: Ahci, p: Port, n: u32): void {
  const header = headerScratch(d);
  if (dmaFetch(d, p.clb + n * AHCI_HEADER_BYTES, header, AHCI_HEADER_BYTES) != DMA_OK) return hostError(d, p);
  const flags = load<u32>(header);
  const table = reach(d, load<u64>(header, AHCI_HEADER_TABLE) & ~(<u64>(AHCI_TABLE_ALIGN - 1)));
  const dwords = flags & AHCI_HEADER_CFL_MASK;
  const fis = fisScratch(d);
  const bytes = min(dwords, FIS_DWORDS_MAX) << 2;
  if (bytes != 0 && dmaFetch(d, table, fis, bytes) != DMA_OK) return hostError(d, p);
  if (dwords < REGISTER_DWORDS || load<u8>(fis) != FIS_REGISTER_H2D) return interfaceError(d, p);
  d.commands++;
  // What the last command left is void from here on: a driver that polls must not take its error for this one's.
  p.tfd = (p.tfd & ~(ATA_STATUS_ERR | ATA_STATUS_DF)) | ATA_STATUS_BSY;
  if ((load<u8>(fis, 1) & FIS_COMMAND) == 0) return control(d, p, n, flags, load<u8>(fis, 15));
  const s = slotAt(p, n);
  // The device still has the slot's command, a queued one: another frame through that slot is as a tag in use.
  const taken = ((p.active >>> n) & 1) != 0;
  if (taken) giveUp(p);
  s.header = flags;
  s.prdtl = flags >>> AHCI_HEADER_PRDTL_SHIFT;
  s.table = table;
  s.moved = 0;
  s.tag = n;
  s.command = load<u8>(fis, 2);
  s.feature = load<u8>(fis, 3) | ((<u32>load<u8>(fis, 11)) << 8);
  s.lba = (load<u32>(fis, 4) & 0xffffff) | ((<u64>load<u32>(fis, 8) & 0xffffff) << 24);
  s.device = load<u8>(fis, 7);
  s.count = load<u16>(fis, 12);
  p.busy = n;
  const step = taken ? abort(ataOf(p), s) : ataCommand(ataOf(p), s);
  trace(TRACE_COMMAND, d.id, d.command, s.command, <u32>s.lba, s.sectors);
  if (isQueued(s) && step == STEP_MEDIA) accept(d, p, n, s);
  else if (step == STEP_PACKET) sendPacket(d, p, n, s);
  else advance(d, p, n, s, step);
}

/**
 * A Register FIS that updates the control register only: the two of them that make a software reset
 * ([1] 10.4.1). CH.C says that the device answers neither, so that the HBA itself clears BSY and PxCI. In
 * commands the bit has no effect.
 */
function control(d: Ahci, p: Port, n: u32, flags: u32, value: u32): void {
  const a = ataOf(p);
  if ((value & ATA_CONTROL_SRST) != 0) {
    giveUp(p);
    ataSoftReset(a);
    a.resetting = 1;
  }
  const answers = (value & ATA_CONTROL_SRST) == 0 && a.resetting != 0;
  if (answers) a.resetting = 0;
  if ((flags & AHCI_HEADER_CLEAR_BUSY) != 0 || answers) {
    p.ci &= ~(1 << n);
    p.tfd &= ~ATA_STATUS_BSY;
  } else {
    p.busy = n;
  }
  if (answers) signature(d, p);
}

/**
 * The device takes a queued command at once, and the slot is free of PxCI ([2] 13.6.3). Data goes through the
 * slot that the tag names, so that is where the command is kept.
 */
function accept(d: Ahci, p: Port, n: u32, s: Slot): void {
  p.busy = NO_SLOT;
  p.ci &= ~(1 << n);
  const tag = s.tag;
  if (tag != n) memory.copy(changetype<usize>(slotAt(p, tag)), changetype<usize>(s), offsetof<Slot>());
  showTask(ataOf(p), s);
  p.active |= 1 << tag;
  if (postRegister(d, p, false)) startMedia(d, p, tag, slotAt(p, tag));
}

/** Does what the device asks for next. */
function advance(d: Ahci, p: Port, n: u32, s: Slot, step: u32): void {
  if (step == STEP_BUFFER_OUT) {
    if (!moveOwn(d, p, s, false)) return;
    step = ataBufferFilled(ataOf(p), s);
  } else if (step == STEP_BUFFER_IN) {
    if (!moveOwn(d, p, s, true)) return;
    succeed(ataOf(p), s);
    return succeedWithData(d, p, n, s);
  }
  if (step == STEP_MEDIA) {
    p.active |= 1 << n;
    startMedia(d, p, n, s);
  } else if (step != STEP_SILENT) {
    assert(step == STEP_END);
    endRegister(d, p, n, s);
  }
}

function startMedia(d: Ahci, p: Port, n: u32, s: Slot): void {
  const r = ataBegin(d, ataOf(p), s, s.sectors, requestTag(p, n));
  if (r !== null) {
    s.request = <u32>changetype<usize>(r);
    return;
  }
  p.waiting |= 1 << n;
  if (d.retrying == 0 && schedule(d, EVENT_RETRY, 0, RETRY_NS)) d.retrying = 1;
}

/** EVENT_RETRY: commands that found no free request ask again. */
export function retryWaiting(d: Ahci): void {
  d.retrying = 0;
  for (let i: u32 = 0; i < d.portCount; i++) {
    const p = portAt(d, i);
    let left = p.waiting;
    p.waiting = 0;
    while (left != 0) {
      const n = <u32>ctz(left);
      left &= left - 1;
      startMedia(d, p, n, slotAt(p, n));
    }
  }
}

/** Moves the device's own buffer; false when that stopped the port. */
function moveOwn(d: Ahci, p: Port, s: Slot, in_: bool): bool {
  moveBuffer(ataBuffer(ataOf(p)), in_);
  const outcome = walkTable(d, p, s, s.bytes);
  if (outcome == TABLE_OK || (in_ && outcome != TABLE_FAULT)) {
    moveEnd();
    return true;
  }
  stall(d, p, outcome);
  return false;
}

/** The data phase broke: a bus error stops the port; a table that is too short leaves the device waiting. */
export function stall(d: Ahci, p: Port, outcome: u32): void {
  if (outcome == TABLE_FAULT) hostError(d, p);
  else {
    giveUp(p);
    p.stopped = 1;
  }
}

/** EVENT_MEDIA_DATA: the data of a command, or of a part of it, can move. */
export function mediaData(d: Ahci, r: Request): void {
  const p = portOf(d, r);
  const n = r.tag & 31;
  const s = slotAt(p, n);
  nameCommand(d, p, n);
  if (takesPacket(ataOf(p), s)) return mediaOfPacket(d, p, n, s, r, false);
  if (movesData(s) && !moveData(d, p, s, r)) return;
  const status = finishRequest(r);
  if (status != MEDIA_PENDING) mediaEnd(d, p, n, s, r, status);
}

function moveData(d: Ahci, p: Port, s: Slot, r: Request): bool {
  const bytes = r.sectors << diskOf(r).sectorShift;
  const in_ = toHost(s);
  if (isQueued(s) && !postDmaSetup(d, p, s, bytes)) return false;
  moveRequest(r, 0, in_);
  const outcome = walkTable(d, p, s, bytes);
  // What the HBA read before an error is not sent: the medium keeps what it had.
  if (outcome == TABLE_OK || in_) moveEnd();
  if (outcome == TABLE_OK || (in_ && outcome != TABLE_FAULT)) return true;
  stall(d, p, outcome);
  return false;
}

/** EVENT_MEDIA_DONE. */
export function mediaDone(d: Ahci, r: Request): void {
  const p = portOf(d, r);
  const n = r.tag & 31;
  const s = slotAt(p, n);
  nameCommand(d, p, n);
  if (takesPacket(ataOf(p), s)) mediaOfPacket(d, p, n, s, r, true);
  else mediaEnd(d, p, n, s, r, r.status);
}

function mediaEnd(d: Ahci, p: Port, n: u32, s: Slot, r: Request, status: u32): void {
  // PRDBC of a read ends where the medium's data did.
  if (status != MEDIA_OK && toHost(s)) {
    s.moved = <u32>min(<u64>s.moved, (r.errorSector - s.sector) << diskOf(r).sectorShift);
  }
  const step = ataMediaDone(ataOf(p), s, r, status);
  endRequest(r);
  s.request = 0;
  if (step == STEP_MEDIA) startMedia(d, p, n, s);
  else if (isQueued(s)) endQueued(d, p, n);
  else if (failed(p) || s.bytes == 0) endRegister(d, p, n, s);
  else succeedWithData(d, p, n, s);
  runPort(d, p);
}

function failed(p: Port): bool {
  return (ataOf(p).status & (ATA_STATUS_ERR | ATA_STATUS_DF)) != 0;
}

/** A queued command is over: Set Device Bits, PxSACT ([1] 5.3.14). One that failed ended the others too. */
function endQueued(d: Ahci, p: Port, tag: u32): void {
  p.active &= ~(1 << tag);
  const bad = failed(p);
  const bit: u32 = bad ? 0 : 1 << tag;
  if (bad) giveUp(p);
  if (!postSetBits(d, p, bit)) return;
  finish(d, p);
  if (bad) return taskFileError(d, p, AHCI_IS_SDBS);
  p.sact &= ~bit;
  coalesce(d, p);
  raise(d, p, AHCI_IS_SDBS);
}

/**
 * A command with data is over and good. PIO data-in ends with the PIO Setup FIS of its last block ([2] 11.7);
 * some silicon reports its end with a Register FIS all the same.
 */
function succeedWithData(d: Ahci, p: Port, n: u32, s: Slot): void {
  if (s.protocol == PROTOCOL_PIO_IN || s.protocol == PROTOCOL_PIO_OUT) {
    const in_ = s.protocol == PROTOCOL_PIO_IN;
    // The first block of a PIO data-out has no interrupt ([2] 11.8).
    const interrupt = in_ || s.bytes > s.block;
    if (!postPioSetup(d, p, s, ((s.bytes - 1) % s.block) + 1, interrupt)) return;
    if (in_ && d.pioRegisterFis == 0) {
      if (!storeCount(d, p, n, s)) return;
      p.tfd = ataOf(p).status;
      close(d, p, n);
      raise(d, p, AHCI_IS_PSS);
      return;
    }
    if (interrupt) raise(d, p, AHCI_IS_PSS);
  }
  endRegister(d, p, n, s);
}

/** A command ends with a Register FIS, good or bad. */
export function endRegister(d: Ahci, p: Port, n: u32, s: Slot): void {
  const bad = failed(p);
  // A command that is not queued ends those that are.
  if (bad) giveUp(p);
  if (!storeCount(d, p, n, s) || !postRegister(d, p, true)) return;
  if (bad) {
    finish(d, p);
    taskFileError(d, p, AHCI_IS_DHRS);
    return;
  }
  close(d, p, n);
  raise(d, p, AHCI_IS_DHRS);
}

/** PRDBC: bytes that went through the command's table ([1] 4.2.2). */
function storeCount(d: Ahci, p: Port, n: u32, s: Slot): bool {
  if (s.moved == 0) return true;
  const scratch = fisScratch(d);
  store<u32>(scratch, s.moved);
  if (dmaStore(d, p.clb + n * AHCI_HEADER_BYTES + AHCI_HEADER_PRDBC, scratch, 4) == DMA_OK) return true;
  hostError(d, p);
  return false;
}

/** Frees the slot of a command that was not queued. */
function close(d: Ahci, p: Port, n: u32): void {
  p.active &= ~(1 << n);
  p.busy = NO_SLOT;
  p.ci &= ~(1 << n);
  finish(d, p);
  coalesce(d, p);
}

function finish(d: Ahci, p: Port): void {
  d.completions++;
  trace(TRACE_COMPLETE, d.id, d.command, ataOf(p).status, 0, 0);
}

/**
 * An error in the task file stops the port. The states of [1] 5.3.13 (ERR:FatalTaskfile) leave the bit of the frame
 * that brought it out; boards set it too (their drivers log 40000001h and 40000008h), and firmware that polls for
 * DHRS alone waits for it.
 */
function taskFileError(d: Ahci, p: Port, frame: u32): void {
  p.stopped = 1;
  raise(d, p, AHCI_IS_TFES | frame);
}
