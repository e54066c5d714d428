// The SCSI bus: who has it, which phase the target asks for, ATN and ACK; arbitration, selection and reselection in
// virtual time; the chip's timers (references in chip.ts).
//
// Three deviations for software that was only ever run on emulators (SeaBIOS): an instruction that goes for a free bus
// takes ACK back first, so that a target which has said its last word leaves; a target answers although SCID says that
// its id is the chip's own, as it does after a reset; and where STIME0 has the selection timer off, a selection that
// nobody answers is given up at once instead of never.
import { cancel, schedule } from '../bus/clock';
import {
  clearBits,
  EVENT_ARBITRATE,
  EVENT_GENERAL,
  EVENT_HANDSHAKE,
  EVENT_RESELECT,
  EVENT_SELECTION,
  get8,
  get32,
  isConnected,
  Lsi,
  messageIn,
  NO_STATUS,
  NOBODY,
  Slot,
  set8,
  set32,
  setBits,
  slotAt,
  slotBit,
  slotNumber,
  unitsOf,
  WAIT_ARBITRATION,
  WAIT_BUS_FREE,
  WAIT_NOTHING,
  WAIT_PHASE,
  WAIT_RESELECTION,
  WAIT_SELECTION,
  wake,
} from './chip';
import { cancelWait, postScsi } from './interrupt';
import {
  LSI_DCNTL,
  LSI_DCNTL_COM,
  LSI_DNAD,
  LSI_DSP,
  LSI_PHASE_COMMAND,
  LSI_PHASE_MESSAGE_IN,
  LSI_PHASE_MESSAGE_OUT,
  LSI_RESPID0,
  LSI_RESPID1,
  LSI_SBCL_ACK,
  LSI_SBCL_ATN,
  LSI_SBCL_BSY,
  LSI_SBCL_REQ,
  LSI_SBCL_SEL,
  LSI_SCID,
  LSI_SCID_RRE,
  LSI_SCNTL0,
  LSI_SCNTL0_START,
  LSI_SCNTL0_TRG,
  LSI_SCNTL0_WATN,
  LSI_SCNTL1,
  LSI_SCNTL1_CON,
  LSI_SCNTL1_IARB,
  LSI_SCNTL2,
  LSI_SCNTL2_SDU,
  LSI_SCNTL3,
  LSI_SCNTL3_CCF,
  LSI_SDID,
  LSI_SFBR,
  LSI_SIST0_CMP,
  LSI_SIST0_RSL,
  LSI_SIST0_UDC,
  LSI_SIST1_GEN,
  LSI_SIST1_HTH,
  LSI_SIST1_STO,
  LSI_SSID,
  LSI_SSID_VAL,
  LSI_SSTAT0,
  LSI_SSTAT0_AIP,
  LSI_SSTAT0_LOA,
  LSI_SSTAT0_WOA,
  LSI_SSTAT1,
  LSI_SSTAT1_PHASE,
  LSI_SSTAT2,
  LSI_SSTAT2_LDSC,
  LSI_STEST0,
  LSI_STEST1,
  LSI_STEST1_QEN,
  LSI_STEST1_QSEL,
  LSI_STIME0,
  LSI_STIME0_SEL,
  LSI_STIME1,
  LSI_STIME1_GEN,
  LSI_STIME1_GENSF,
  LSI_STIME1_HTHSF,
  MSG_IDENTIFY,
} from './regs';
import { isReady, leave, proceed } from './target';

/** Bus free, settle and arbitration delays together ([2] 5.3), and what a target takes to arbitrate. */
const ARBITRATION_NS: u64 = 2400;
const RESELECTION_NS: u64 = 2400;
/** After the time-out, until the selection is given up ([1] STIME0). */
const SELECTION_ABORT_NS: u64 = 200_000;
/** SCLK, and its cycles, halved, that the divisors of SCNTL3.CCF stand for. */
const SCLK_NS: u64 = 25;
const DIVISORS: StaticArray<u8> = [6, 2, 3, 4, 6, 8, 12, 16];
/** Cycles of the divided clock in the shortest period: 125 µs at least at 20 MHz, and measured as this. */
const PERIOD_CYCLES: u64 = 2893;

/** The target asks for `phase`. */
export function request(d: Lsi, phase: u32): void {
  d.phase = phase;
  d.req = 1;
  d.steps = 0;
  set8(d, LSI_SSTAT1, (get8(d, LSI_SSTAT1) & ~LSI_SSTAT1_PHASE) | phase);
  wake(d);
}

/** The lines of the bus as SBCL shows them. */
export function linesOf(d: Lsi): u32 {
  if (!isConnected(d)) return d.selecting != 0 ? LSI_SBCL_SEL : 0;
  let lines: u32 = LSI_SBCL_BSY | d.phase;
  if (d.req != 0) lines |= LSI_SBCL_REQ;
  if (d.ack != 0) lines |= LSI_SBCL_ACK;
  if (d.atn != 0) lines |= LSI_SBCL_ATN;
  return lines;
}

/** Begins a nexus with `target`. */
function connect(d: Lsi, target: u32): void {
  d.target = target;
  d.req = 0;
  d.ack = 0;
  d.fresh = 0;
  d.identified = 0;
  d.lun = 0;
  d.tagKind = 0;
  d.tag = 0;
  d.privilege = 0;
  d.slot = 0;
  d.status = NO_STATUS;
  d.statusSent = 0;
  d.leaves = 0;
  d.sinceConnect = 0;
  d.inAt = 0;
  d.inBytes = 0;
  d.lastBytes = 0;
  d.outBytes = 0;
  d.outLength = 0;
  d.cdbBytes = 0;
  setBits(d, LSI_SCNTL1, LSI_SCNTL1_CON);
  setBits(d, LSI_SCNTL2, LSI_SCNTL2_SDU);
  clearBits(d, LSI_SSTAT2, LSI_SSTAT2_LDSC);
}

/** The target lets go of the bus. UDC where SCRIPTS did not expect it ([1] 4.2, SCNTL2.SDU). */
export function busFree(d: Lsi): void {
  dropBus(d);
  const expected =
    (get8(d, LSI_SCNTL2) & LSI_SCNTL2_SDU) == 0 ||
    d.waiting == WAIT_BUS_FREE ||
    d.waiting >= WAIT_RESELECTION;
  if (!expected) postScsi(d, LSI_SIST0_UDC, 0);
  armReselection(d);
  contendAgain(d);
  wake(d);
}

/** The bus is free for a chip that waited for it. */
function contendAgain(d: Lsi): void {
  if (d.contends == 0) return;
  d.contends = 0;
  schedule(d, EVENT_ARBITRATE, 0, ARBITRATION_NS);
}

/** Nobody has the bus any more, and no word of it to SCRIPTS. */
export function dropBus(d: Lsi): void {
  d.target = NOBODY;
  d.parted = 1;
  d.command = 0;
  d.phase = 0;
  d.req = 0;
  d.ack = 0;
  d.atn = 0;
  d.steps = 0;
  clearBits(d, LSI_SCNTL1, LSI_SCNTL1_CON);
  clearBits(d, LSI_SSTAT1, LSI_SSTAT1_PHASE);
  setBits(d, LSI_SSTAT2, LSI_SSTAT2_LDSC);
}

/** ATN changes; a target looks at it between two phases. */
export function setAtn(d: Lsi, on: bool): void {
  if (!isConnected(d)) return;
  d.atn = on ? 1 : 0;
  if (on) proceed(d);
}

/** ACK of a message's last byte is taken back: the target goes on. */
export function releaseAck(d: Lsi): void {
  if (d.ack == 0) return;
  d.ack = 0;
  proceed(d);
}

/** SELECT, or SCNTL0.START: the chip arbitrates for the bus, then selects the target in SDID. */
export function beginArbitration(d: Lsi): void {
  setBits(d, LSI_SSTAT0, LSI_SSTAT0_AIP);
  clearBits(d, LSI_SSTAT0, LSI_SSTAT0_WOA | LSI_SSTAT0_LOA);
  // A full queue: the chip never gets the bus, and software gives up on it.
  schedule(d, EVENT_ARBITRATE, 0, ARBITRATION_NS);
}

/** The end of an arbitration. Targets that came first have the bus by now. */
export function arbitrated(d: Lsi): void {
  if (d.lowLevel == 0 && d.waiting != WAIT_ARBITRATION) return;
  if (isConnected(d) || d.selecting != 0) {
    d.contends = 1;
    return;
  }
  clearBits(d, LSI_SSTAT0, LSI_SSTAT0_AIP);
  setBits(d, LSI_SSTAT0, LSI_SSTAT0_WOA);
  clearBits(d, LSI_SCNTL1, LSI_SCNTL1_IARB);
  clearBits(d, LSI_SCNTL0, LSI_SCNTL0_START);
  const target = get8(d, LSI_SDID);
  const initiator = (get8(d, LSI_SCNTL0) & LSI_SCNTL0_TRG) == 0;
  if (d.waiting == WAIT_ARBITRATION) d.waiting = WAIT_NOTHING;
  if (initiator && unitsOf(d, target) != 0) {
    connect(d, target);
    if (d.lowLevel != 0) d.atn = get8(d, LSI_SCNTL0) & LSI_SCNTL0_WATN;
    d.fresh = d.atn == 0 ? 1 : 0;
    request(d, d.atn != 0 ? LSI_PHASE_MESSAGE_OUT : LSI_PHASE_COMMAND);
    if (d.lowLevel != 0) postScsi(d, LSI_SIST0_CMP, 0);
  } else {
    // No target answers, and no initiator a reselection: the chip is alone.
    d.selecting = 1;
    const code = get8(d, LSI_STIME0) & LSI_STIME0_SEL;
    schedule(d, EVENT_SELECTION, 0, (code != 0 ? period(d, code) : 0) + SELECTION_ABORT_NS);
  }
  d.lowLevel = 0;
  wake(d);
}

export function selectionTimedOut(d: Lsi): void {
  d.selecting = 0;
  d.atn = 0;
  postScsi(d, 0, LSI_SIST1_STO);
  armReselection(d);
  contendAgain(d);
}

/** A target's task has something to say. */
export function wantBus(d: Lsi, s: Slot): void {
  d.wantsBus |= slotBit(d, s);
  armReselection(d);
}

/** Has the targets that want the bus arbitrate for it once it is free and the chip answers reselections. */
export function armReselection(d: Lsi): void {
  if (d.wantsBus == 0 || d.reselecting != 0 || isConnected(d) || d.selecting != 0) return;
  if (nextToReselect(d) == null) return;
  if (schedule(d, EVENT_RESELECT, 0, RESELECTION_NS)) d.reselecting = 1;
}

/** The oldest task that wants the bus and whose initiator answers. */
function nextToReselect(d: Lsi): Slot | null {
  if ((get8(d, LSI_SCID) & LSI_SCID_RRE) == 0) return null;
  const answers = get8(d, LSI_RESPID0) | (get8(d, LSI_RESPID1) << 8);
  let found: Slot | null = null;
  // Each round takes a bit out of the set.
  for (let left = d.wantsBus; left != 0; left &= left - 1) {
    const s = slotAt(d, <u32>ctz(left));
    if (((answers >>> s.initiator) & 1) == 0) continue;
    if (found == null || <i32>(s.order - found.order) < 0) found = s;
  }
  return found;
}

/** A target won the arbitration: it reselects the chip. */
export function reselect(d: Lsi): void {
  d.reselecting = 0;
  if (isConnected(d) || d.selecting != 0) return;
  const s = nextToReselect(d);
  if (s == null) return;
  d.wantsBus &= ~slotBit(d, s);
  connect(d, s.target);
  d.atn = 0;
  d.identified = 1;
  d.lun = s.lun;
  d.tagKind = s.tagKind;
  d.tag = s.tagValue;
  d.privilege = s.privilege;
  d.slot = slotNumber(d, s) + 1;
  d.command = s.number;
  set8(d, LSI_SSID, LSI_SSID_VAL | s.target);
  set8(d, LSI_STEST0, (s.initiator << 4) | (get8(d, LSI_STEST0) & 0x0f));
  if ((get8(d, LSI_DCNTL) & LSI_DCNTL_COM) == 0) set8(d, LSI_SFBR, 1 << (s.target & 7));
  store<u8>(messageIn(d), <u8>(MSG_IDENTIFY | s.lun));
  store<u8>(messageIn(d) + 1, <u8>s.tagKind);
  store<u8>(messageIn(d) + 2, <u8>s.tagValue);
  d.inBytes = s.tagKind != 0 ? 3 : 1;
  wakeReselected(d);
  request(d, LSI_PHASE_MESSAGE_IN);
  postScsi(d, LSI_SIST0_RSL, 0);
}

/** What a reselection does to the instruction in hand ([1] 5.3). */
function wakeReselected(d: Lsi): void {
  const waited = d.waiting;
  if (waited < WAIT_RESELECTION) return;
  cancelWait(d);
  if (waited == WAIT_RESELECTION) return;
  if (waited == WAIT_ARBITRATION) {
    clearBits(d, LSI_SSTAT0, LSI_SSTAT0_AIP);
    setBits(d, LSI_SSTAT0, LSI_SSTAT0_LOA);
  }
  set32(d, LSI_DSP, get32(d, LSI_DNAD));
}

/** WAIT RESELECT and WAIT SELECT go to their alternate address when software signals ([1] ISTAT0.SIGP). */
export function signalled(d: Lsi): void {
  if (d.waiting != WAIT_RESELECTION && d.waiting != WAIT_SELECTION) return;
  cancelWait(d);
  set32(d, LSI_DSP, get32(d, LSI_DNAD));
  wake(d);
}

/** SCNTL1.RST rises: every target forgets what it had. */
export function forgetBus(d: Lsi): void {
  dropBus(d);
  cancel(d, EVENT_SELECTION, 0);
  cancel(d, EVENT_RESELECT, 0);
  d.selecting = 0;
  d.reselecting = 0;
  d.contends = 0;
}

/** The target in the nexus goes away without a word, as when a cable is pulled. */
export function loseTarget(d: Lsi): void {
  leave(d);
  busFree(d);
}

/** STIME1.GEN was written: the general purpose timer begins anew, or stops. */
export function startGeneral(d: Lsi): void {
  cancel(d, EVENT_GENERAL, 0);
  const time = get8(d, LSI_STIME1);
  if ((time & LSI_STIME1_GEN) == 0) return;
  const scale: u64 = (time & LSI_STIME1_GENSF) != 0 ? 4 : 0;
  schedule(d, EVENT_GENERAL, 0, period(d, time & LSI_STIME1_GEN) << scale);
}

export function generalExpired(d: Lsi): void {
  postScsi(d, 0, LSI_SIST1_GEN);
}

/** The instruction in hand waits for a target's REQ; the handshake timer watches that. */
export function waitForPhase(d: Lsi): void {
  if (d.waiting == WAIT_PHASE) return;
  d.waiting = WAIT_PHASE;
  const code = get8(d, LSI_STIME0) >>> 4;
  if (code == 0 || !isConnected(d)) return;
  const scale: u64 = (get8(d, LSI_STIME1) & LSI_STIME1_HTHSF) != 0 ? 4 : 0;
  if (schedule(d, EVENT_HANDSHAKE, 0, period(d, code) << scale)) d.watching = 1;
}

export function handshakeExpired(d: Lsi): void {
  d.watching = 0;
  postScsi(d, 0, LSI_SIST1_HTH);
}

/** ns that the timers take for a code of one to fifteen ([1] STIME0): the clock is SCLK by SCNTL3.CCF. */
function period(d: Lsi, code: u32): u64 {
  const divisor = <u64>unchecked(DIVISORS[get8(d, LSI_SCNTL3) & LSI_SCNTL3_CCF]);
  const quadrupled = LSI_STEST1_QEN | LSI_STEST1_QSEL;
  const faster: u64 = (get8(d, LSI_STEST1) & quadrupled) == quadrupled ? 2 : 0;
  return ((PERIOD_CYCLES * SCLK_NS * divisor) << (<u64>code - 1)) >> (1 + faster);
}

/** The task of a slot is no longer busy: it goes on in the nexus, or asks for the bus. */
export function taskReady(d: Lsi, s: Slot): void {
  if (d.slot == slotNumber(d, s) + 1) proceed(d);
  else if (isReady(s)) wantBus(d, s);
}
