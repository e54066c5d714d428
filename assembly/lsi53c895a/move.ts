// Block moves ([1] 5.2): the bytes between the target in the nexus and memory, and what happens when the target wants
// another phase (references in chip.ts). The instruction in hand lives in DCMD, DBC, DNAD and the chip's block, so
// that it can wait for the target at any byte.
import { DMA_OK } from '../bus/codes';
import { dmaFetch, dmaStore } from '../bus/dma';
import { AT_SCRATCH } from '../bus/layout';
import { moveInside, moveSegment } from '../bus/mover';
import { firstOfRuns } from '../bus/runs';
import { scsiDataEnd, scsiMove, scsiMoved, TASK_DONE } from '../scsi/task';
import { request, waitForPhase } from './bus';
import {
  CDB_MAX,
  cdbPlace,
  clearBits,
  get8,
  get32,
  isConnected,
  Lsi,
  messageIn,
  registersOf,
  Slot,
  set8,
  set32,
  setBits,
  slotAt,
} from './chip';
import { postDma, postScsi } from './interrupt';
import { fetchWords, upperHalf, wideAddress } from './memory';
import {
  LSI_CCNTL0,
  LSI_CCNTL0_ENNDJ,
  LSI_CCNTL0_ENPMJ,
  LSI_CCNTL0_PMJCTL,
  LSI_CCNTL1,
  LSI_CCNTL1_EN64DBMV,
  LSI_CCNTL1_EN64TIBMV,
  LSI_CCNTL1_TIMOD,
  LSI_CSBC,
  LSI_CTEST5,
  LSI_CTEST5_BO,
  LSI_DBC,
  LSI_DBMS,
  LSI_DCMD,
  LSI_DFIFO,
  LSI_DNAD,
  LSI_DNAD64,
  LSI_DRS,
  LSI_DSA,
  LSI_DSP,
  LSI_DSPS,
  LSI_DSTAT_BF,
  LSI_DSTAT_IID,
  LSI_ESA,
  LSI_IA,
  LSI_MMRS,
  LSI_PHASE_COMMAND,
  LSI_PHASE_DATA_IN,
  LSI_PHASE_DATA_OUT,
  LSI_PHASE_MESSAGE_IN,
  LSI_PHASE_MESSAGE_OUT,
  LSI_PHASE_STATUS,
  LSI_PMJAD1,
  LSI_PMJAD2,
  LSI_RBC,
  LSI_SBC,
  LSI_SBMS,
  LSI_SCNTL0,
  LSI_SCNTL0_TRG,
  LSI_SCNTL2,
  LSI_SCNTL2_CHM,
  LSI_SCNTL2_WSR,
  LSI_SCNTL2_WSS,
  LSI_SCRATCHC,
  LSI_SFBR,
  LSI_SFS,
  LSI_SIDL,
  LSI_SIST0_MA,
  LSI_SIST0_UDC,
  LSI_SODL,
  LSI_SWIDE,
  LSI_SXFER,
  LSI_SXFER_MO,
  LSI_UA,
} from './regs';
import {
  SCRIPT_COUNT_MASK,
  SCRIPT_ENTRY_BYTES,
  SCRIPT_INDIRECT,
  SCRIPT_MOVE,
  SCRIPT_PHASE_MASK,
  SCRIPT_PHASE_SHIFT,
  SCRIPT_TABLE,
} from './scripts';
import {
  ignoreResidue,
  isWide,
  messageTaken,
  pauseTask,
  proceed,
  settleTask,
  statusTaken,
  takeCommand,
  takeMessage,
} from './target';

/** Bytes of message that are fetched at a time. */
const CHUNK: u32 = 64;
/** A register that is always 0: what stands in for the second byte of a word. */
const PAD: u32 = 0xe0;
/** A table entry's selector ([1] CCNTL1.64TIMOD): SCRATCHC to SCRATCHR, MMRS to DBMS; those behind are illegal. */
const SELECTOR_MASK: u32 = 0x1f;
const SELECTORS_SCRATCH: u32 = 16;
const SELECTORS: u32 = 22;

/** Decodes a block move whose words are in DCMD, DBC and DSPS; false: it cannot be executed. */
export function beginMove(d: Lsi): bool {
  const word = get32(d, LSI_DBC);
  d.begun = 0;
  d.entryHigh = word >>> 24;
  d.high = get32(d, LSI_SBMS);
  set32(d, LSI_IA, d.instruction);
  set32(d, LSI_ESA, d.instruction);
  set32(d, LSI_SBC, 0);
  set32(d, LSI_DNAD, get32(d, LSI_DSPS));
  const kind = word & (SCRIPT_INDIRECT | SCRIPT_TABLE);
  if (kind == SCRIPT_TABLE) {
    if (!fetchEntry(d)) return false;
  } else if (kind == SCRIPT_INDIRECT) {
    if (!fetch(d, wideAddress(d, LSI_SBMS, get32(d, LSI_DSPS)), 4)) return false;
    set32(d, LSI_DNAD, load<u32>(AT_SCRATCH));
  } else if (kind != 0) return illegal(d);
  else if ((get8(d, LSI_CCNTL1) & LSI_CCNTL1_EN64DBMV) != 0) {
    if (!fetch(d, wideAddress(d, LSI_SFS, get32(d, LSI_DSP)), 4)) return false;
    set32(d, LSI_DSP, get32(d, LSI_DSP) + 4);
    d.high = load<u32>(AT_SCRATCH);
    set32(d, LSI_DBMS, d.high);
  }
  set32(d, LSI_DNAD64, d.high);
  if ((get32(d, LSI_DBC) & SCRIPT_COUNT_MASK) == 0) return illegal(d);
  const chained = (word & SCRIPT_MOVE) == 0;
  if (chained) setBits(d, LSI_SCNTL2, LSI_SCNTL2_CHM);
  else clearBits(d, LSI_SCNTL2, LSI_SCNTL2_CHM);
  // Target mode: no initiator is connected.
  return (get8(d, LSI_SCNTL0) & LSI_SCNTL0_TRG) == 0 || illegal(d);
}

/** A table entry: the count and, by CCNTL1, bits or a selector of the address's upper half; the address. */
function fetchEntry(d: Lsi): bool {
  const entry = get32(d, LSI_DSA) + signed24(get32(d, LSI_DSPS));
  if (!fetch(d, wideAddress(d, LSI_DRS, entry), SCRIPT_ENTRY_BYTES)) return false;
  const first = load<u32>(AT_SCRATCH);
  set32(d, LSI_ESA, entry);
  set32(d, LSI_DBC, (get32(d, LSI_DBC) & ~SCRIPT_COUNT_MASK) | (first & SCRIPT_COUNT_MASK));
  set32(d, LSI_DNAD, load<u32>(AT_SCRATCH, 4));
  d.entryHigh = first >>> 24;
  const mode = get8(d, LSI_CCNTL1);
  if ((mode & LSI_CCNTL1_EN64TIBMV) == 0) return true;
  if ((mode & LSI_CCNTL1_TIMOD) != 0) {
    d.high = d.entryHigh;
    return true;
  }
  const selector = d.entryHigh & SELECTOR_MASK;
  if (selector >= SELECTORS) return illegal(d);
  const register: u32 =
    selector < SELECTORS_SCRATCH
      ? LSI_SCRATCHC + selector * 4
      : LSI_MMRS + (selector - SELECTORS_SCRATCH) * 4;
  d.high = get32(d, register);
  return true;
}

/** Goes on with the block move in hand until it is done, waits for the target, or has come to another phase. */
export function continueMove(d: Lsi): void {
  const phase = (get8(d, LSI_DCMD) >>> (SCRIPT_PHASE_SHIFT - 24)) & SCRIPT_PHASE_MASK;
  if (phase == LSI_PHASE_DATA_IN && restOfWord(d)) return;
  // Each round moves a byte at least, or returns.
  while ((get32(d, LSI_DBC) & SCRIPT_COUNT_MASK) != 0) {
    if (!isConnected(d)) {
      if (d.selecting != 0) return waitForPhase(d);
      if (d.running == 0) return;
      if (d.begun != 0) return postScsi(d, LSI_SIST0_UDC, 0);
      illegal(d);
      return;
    }
    if (d.fresh != 0 && phase == LSI_PHASE_MESSAGE_OUT) request(d, phase);
    if (d.req == 0) return waitForPhase(d);
    if (d.phase != phase) return mismatch(d, phase);
    d.fresh = 0;
    d.begun = 1;
    d.steps = 0;
    if (!transfer(d, phase)) {
      postDma(d, LSI_DSTAT_BF);
      return;
    }
  }
}

/** One stretch of the phase; false after a bus fault. */
function transfer(d: Lsi, phase: u32): bool {
  switch (phase) {
    case LSI_PHASE_DATA_OUT:
      return dataOut(d, slotAt(d, d.slot - 1));
    case LSI_PHASE_DATA_IN:
      return dataIn(d, slotAt(d, d.slot - 1));
    case LSI_PHASE_COMMAND:
      return command(d);
    case LSI_PHASE_STATUS:
      return status(d);
    case LSI_PHASE_MESSAGE_OUT:
      return messageOut(d);
    default:
      assert(phase == LSI_PHASE_MESSAGE_IN);
      return messagesIn(d);
  }
}

/** The target wants another phase: jump or interrupt ([1] CCNTL0, and 4.4 for what is left in the registers). */
function mismatch(d: Lsi, phase: u32): void {
  const left = get32(d, LSI_DBC) & SCRIPT_COUNT_MASK;
  set32(d, LSI_RBC, (d.entryHigh << 24) | left);
  set32(d, LSI_UA, get32(d, LSI_DNAD));
  // Nothing stays in the DMA FIFO: its byte offset is that of the counter.
  set8(d, LSI_DFIFO, left);
  set8(d, LSI_CTEST5, (get8(d, LSI_CTEST5) & ~LSI_CTEST5_BO) | ((left >>> 8) & LSI_CTEST5_BO));
  const control = get8(d, LSI_CCNTL0);
  const isData = phase == LSI_PHASE_DATA_OUT || phase == LSI_PHASE_DATA_IN;
  if ((control & LSI_CCNTL0_ENPMJ) == 0 || (!isData && (control & LSI_CCNTL0_ENNDJ) == 0)) {
    return postScsi(d, LSI_SIST0_MA, 0);
  }
  const second =
    (control & LSI_CCNTL0_PMJCTL) != 0 ? (phase & 1) != 0 : (get8(d, LSI_SCNTL2) & LSI_SCNTL2_WSR) != 0;
  set32(d, LSI_DSP, get32(d, second ? LSI_PMJAD2 : LSI_PMJAD1));
}

// Data.

/** A chained move of the one byte that SWIDE still has needs no target. */
function restOfWord(d: Lsi): bool {
  const one = (get32(d, LSI_DBC) & SCRIPT_COUNT_MASK) == 1;
  if (!one || !isChained(d) || (get8(d, LSI_SCNTL2) & LSI_SCNTL2_WSR) == 0) return false;
  clearBits(d, LSI_SCNTL2, LSI_SCNTL2_WSR);
  if (!storeBytes(d, registersOf(d) + LSI_SWIDE, 1)) postDma(d, LSI_DSTAT_BF);
  return true;
}

function isChained(d: Lsi): bool {
  return (get8(d, LSI_SCNTL2) & LSI_SCNTL2_CHM) != 0;
}

/** What the target gives or takes before it pauses, at most: whole words. */
function offer(d: Lsi, s: Slot): u32 {
  const left = s.length - s.at;
  if (d.burst == 0 || d.privilege == 0 || d.sinceConnect >= d.burst) return left;
  return min(left, d.burst - d.sinceConnect);
}

/** [1] 2.2.18: an odd byte at the end of a wide move stays in SWIDE, and leads the next chained one. */
function dataIn(d: Lsi, s: Slot): bool {
  const count = get32(d, LSI_DBC) & SCRIPT_COUNT_MASK;
  const wide = isWide(d);
  const kept: u32 = wide && isChained(d) && (get8(d, LSI_SCNTL2) & LSI_SCNTL2_WSR) != 0 ? 1 : 0;
  clearBits(d, LSI_SCNTL2, LSI_SCNTL2_WSR);
  if (kept != 0 && !storeBytes(d, registersOf(d) + LSI_SWIDE, 1)) return false;
  const from = s.at;
  const offered = offer(d, s);
  const bytes = min(count - kept, offered);
  const odd = wide && (bytes & 1) != 0;
  // The second byte of the last word: data for SWIDE, or padding behind the end.
  const padded = odd && bytes == s.length - from;
  const keeps = odd && !padded;
  scsiMove(s, from);
  const good = segment(d, bytes);
  if (keeps) moveInside(registersOf(d) + LSI_SWIDE, 1);
  const done = scsiMoved(s);
  // A medium that failed did so at a sector: the last word never crossed the bus.
  const full = keeps && done;
  if (bytes > 0 && (get8(d, LSI_SXFER) & LSI_SXFER_MO) == 0) set8(d, LSI_SFBR, firstOfRuns());
  advance(d, bytes);
  if (full) setBits(d, LSI_SCNTL2, LSI_SCNTL2_WSR);
  if (padded) {
    if ((get32(d, LSI_DBC) & SCRIPT_COUNT_MASK) != 0) storeBytes(d, registersOf(d) + PAD, 1);
    else {
      set8(d, LSI_SWIDE, 0);
      setBits(d, LSI_SCNTL2, LSI_SCNTL2_WSR);
    }
  }
  endStretch(d, s, from, bytes + (full ? 1 : 0), done);
  if (padded) ignoreResidue(d);
  proceed(d);
  return good;
}

/** The other way round: an odd byte at the end of a chained move stays in SODL, that of a plain one goes out padded. */
function dataOut(d: Lsi, s: Slot): bool {
  const count = get32(d, LSI_DBC) & SCRIPT_COUNT_MASK;
  const wide = isWide(d);
  const kept: u32 = wide && (get8(d, LSI_SCNTL2) & LSI_SCNTL2_WSS) != 0 ? 1 : 0;
  clearBits(d, LSI_SCNTL2, LSI_SCNTL2_WSS);
  const odd = wide && ((count + kept) & 1) != 0;
  const keeps = odd && isChained(d);
  const ready = keeps ? count + kept - 1 : count + kept;
  const bytes = min(odd && !keeps ? ready + 1 : ready, offer(d, s));
  if (bytes == 0) return keepByte(d);
  const from = s.at;
  const fetched = min(ready, bytes) - kept;
  scsiMove(s, from);
  if (kept != 0) moveInside(registersOf(d) + LSI_SODL, 1);
  let good = segment(d, fetched);
  if (bytes > ready) moveInside(registersOf(d) + PAD, 1);
  const done = scsiMoved(s);
  // A target that takes an odd number of bytes gets a word all the same.
  const lost: u32 = wide && (bytes & 1) != 0 && fetched < count ? 1 : 0;
  advance(d, fetched + lost);
  // After a medium has failed there is no next move for the byte.
  if (keeps && done && bytes == ready && !keepByte(d)) good = false;
  endStretch(d, s, from, bytes, done);
  proceed(d);
  return good;
}

/** The byte at DNAD waits in SODL for the next move. */
function keepByte(d: Lsi): bool {
  setBits(d, LSI_SCNTL2, LSI_SCNTL2_WSS);
  return fetchBytes(d, registersOf(d) + LSI_SODL, 1);
}

/** The target has moved `bytes` more bytes of the task's data; `done` is false when its medium failed. */
function endStretch(d: Lsi, s: Slot, from: u32, bytes: u32, done: bool): void {
  s.at = from + bytes;
  d.sinceConnect += bytes;
  d.spent += bytes >>> 6;
  set32(d, LSI_SBC, (get32(d, LSI_SBC) + bytes) & SCRIPT_COUNT_MASK);
  set32(d, LSI_CSBC, get32(d, LSI_CSBC) + bytes);
  if (done && s.at < s.length) {
    if (d.burst != 0 && d.privilege != 0 && d.sinceConnect >= d.burst) pauseTask(d, s);
    return;
  }
  const stored = s.request != 0;
  scsiDataEnd(s, s.at);
  if (stored) settleTask(d, s);
  if (done || s.state != TASK_DONE || s.moved >= s.at) return;
  // What the medium did not give never crossed the bus.
  retreat(d, s.at - max(s.moved, from));
}

/** Takes back the last bytes of an advance(). */
function retreat(d: Lsi, bytes: u32): void {
  set32(d, LSI_DBC, get32(d, LSI_DBC) + bytes);
  set32(d, LSI_DNAD, get32(d, LSI_DNAD) - bytes);
  set32(d, LSI_SBC, (get32(d, LSI_SBC) - bytes) & SCRIPT_COUNT_MASK);
  set32(d, LSI_CSBC, get32(d, LSI_CSBC) - bytes);
}

// The other phases.

function command(d: Lsi): bool {
  const bytes = min(get32(d, LSI_DBC) & SCRIPT_COUNT_MASK, CDB_MAX - d.cdbBytes);
  if (!fetchBytes(d, cdbPlace(d) + d.cdbBytes, bytes)) return false;
  takeCommand(d, bytes);
  proceed(d);
  return true;
}

function status(d: Lsi): bool {
  store<u8>(AT_SCRATCH, <u8>d.status);
  set8(d, LSI_SFBR, d.status);
  if (!storeBytes(d, AT_SCRATCH, 1)) return false;
  statusTaken(d);
  proceed(d);
  return true;
}

/** The chip holds ACK of the last byte until SCRIPTS clear it. */
function messagesIn(d: Lsi): bool {
  const bytes = min(get32(d, LSI_DBC) & SCRIPT_COUNT_MASK, d.inBytes - d.inAt);
  const from = messageIn(d) + d.inAt;
  set8(d, LSI_SFBR, load<u8>(from));
  set8(d, LSI_SIDL, load<u8>(from + bytes - 1));
  if (!storeBytes(d, from, bytes)) return false;
  messageTaken(d, bytes);
  if ((get32(d, LSI_DBC) & SCRIPT_COUNT_MASK) == 0) d.ack = 1;
  proceed(d);
  return true;
}

/** ATN goes with the last byte. A target may leave the bus at any byte. */
function messageOut(d: Lsi): bool {
  const target = d.target;
  while (d.target == target) {
    const left = get32(d, LSI_DBC) & SCRIPT_COUNT_MASK;
    if (left == 0) break;
    const bytes = min(left, CHUNK);
    if (dmaFetch(d, dataAddress(d), AT_SCRATCH, bytes) != DMA_OK) return false;
    let i: u32 = 0;
    while (i < bytes && d.target == target) {
      if (i + 1 == left) d.atn = 0;
      takeMessage(d, load<u8>(AT_SCRATCH + i));
      i++;
    }
    advance(d, i);
  }
  proceed(d);
  return true;
}

// Memory.

function dataAddress(d: Lsi): u64 {
  return ((<u64>upperHalf(d, d.high)) << 32) | get32(d, LSI_DNAD);
}

function advance(d: Lsi, bytes: u32): void {
  const word = get32(d, LSI_DBC);
  set32(d, LSI_DBC, (word & ~SCRIPT_COUNT_MASK) | ((word & SCRIPT_COUNT_MASK) - bytes));
  set32(d, LSI_DNAD, get32(d, LSI_DNAD) + bytes);
}

/** Moves `bytes` bytes of data at DNAD. DNAD counts 32 bits: the upper half stays as it is. */
function segment(d: Lsi, bytes: u32): bool {
  const toEnd = 0 - get32(d, LSI_DNAD);
  const first = toEnd != 0 ? min(bytes, toEnd) : bytes;
  let fault: u32 = moveSegment(d, dataAddress(d), first);
  if (bytes > first) fault = moveSegment(d, (<u64>upperHalf(d, d.high)) << 32, bytes - first);
  return fault == DMA_OK;
}

/** Between DNAD and module memory. */
function storeBytes(d: Lsi, from: usize, bytes: u32): bool {
  const fault = dmaStore(d, dataAddress(d), from, bytes);
  advance(d, bytes);
  return fault == DMA_OK;
}

function fetchBytes(d: Lsi, to: usize, bytes: u32): bool {
  const fault = dmaFetch(d, dataAddress(d), to, bytes);
  advance(d, bytes);
  return fault == DMA_OK;
}

/** Fetches a word of the instruction or of its table into the scratch area. */
function fetch(d: Lsi, address: u64, bytes: u32): bool {
  if (fetchWords(d, address, bytes)) return true;
  postDma(d, LSI_DSTAT_BF);
  return false;
}

function illegal(d: Lsi): bool {
  postDma(d, LSI_DSTAT_IID);
  return false;
}

export function signed24(value: u32): u32 {
  return <u32>(<i32>(value << 8) >> 8);
}
