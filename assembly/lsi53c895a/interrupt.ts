// Interrupts: what stops SCRIPTS, what is posted where, and the pin ([1] 2.2.16; references in chip.ts).
import { cancel } from '../bus/clock';
import { setLine } from '../bus/irq';
import {
  clearBits,
  EVENT_ARBITRATE,
  EVENT_HANDSHAKE,
  EVENT_RUN,
  get8,
  Lsi,
  set8,
  setBits,
  WAIT_ARBITRATION,
  WAIT_NOTHING,
} from './chip';
import {
  LSI_DCNTL,
  LSI_DCNTL_IRQD,
  LSI_DIEN,
  LSI_DSTAT,
  LSI_DSTAT_ABRT,
  LSI_DSTAT_DFE,
  LSI_ISTAT0,
  LSI_ISTAT0_ABRT,
  LSI_ISTAT0_DIP,
  LSI_ISTAT0_INTF,
  LSI_ISTAT0_SIP,
  LSI_ISTAT1,
  LSI_ISTAT1_SI,
  LSI_ISTAT1_SRUN,
  LSI_SIEN0,
  LSI_SIEN1,
  LSI_SIST0,
  LSI_SIST0_CMP,
  LSI_SIST0_RSL,
  LSI_SIST0_SEL,
  LSI_SIST1,
  LSI_SIST1_GEN,
  LSI_SIST1_HTH,
} from './regs';

/** Posted, and no interrupt, while their enable bit is clear ([1] 2.2.16.3). */
const QUIET0: u32 = LSI_SIST0_CMP | LSI_SIST0_SEL | LSI_SIST0_RSL;
const QUIET1: u32 = LSI_SIST1_GEN | LSI_SIST1_HTH;
const INTF_CAUSE: u32 = 0x01000000;

/** A SCSI interrupt, its bits of SIST0 and SIST1. */
export function postScsi(d: Lsi, bits0: u32, bits1: u32): void {
  const loud = ((bits0 & (~QUIET0 | get8(d, LSI_SIEN0))) | (bits1 & (~QUIET1 | get8(d, LSI_SIEN1)))) != 0;
  if (loud && isPending(d)) d.stacked |= bits0 | (bits1 << 8);
  else {
    setBits(d, LSI_SIST0, bits0);
    setBits(d, LSI_SIST1, bits1);
  }
  if (loud) stop(d);
  updateInterrupt(d);
}

/** A DMA interrupt: every one stops SCRIPTS. */
export function postDma(d: Lsi, bits: u32): void {
  if (isPending(d)) d.stacked |= bits << 16;
  else setBits(d, LSI_DSTAT, bits);
  stop(d);
  updateInterrupt(d);
}

/** INTFLY: SCRIPTS go on. */
export function postOnTheFly(d: Lsi): void {
  setBits(d, LSI_ISTAT0, LSI_ISTAT0_INTF);
  updateInterrupt(d);
}

/** SCRIPTS stop where they are. */
export function stop(d: Lsi): void {
  if (d.queued != 0) cancel(d, EVENT_RUN, 0);
  cancelWait(d);
  d.queued = 0;
  d.running = 0;
  clearBits(d, LSI_ISTAT1, LSI_ISTAT1_SRUN);
}

/** Whatever the instruction in hand waited for, it does no longer. */
export function cancelWait(d: Lsi): void {
  if (d.waiting == WAIT_ARBITRATION) {
    cancel(d, EVENT_ARBITRATE, 0);
    d.contends = 0;
  }
  if (d.watching != 0) cancel(d, EVENT_HANDSHAKE, 0);
  d.watching = 0;
  d.waiting = WAIT_NOTHING;
}

/** A read of DSTAT: clears it, and an abort that still stands comes again ([1] 4.2, ISTAT0). */
export function takeDma(d: Lsi): u32 {
  const value = get8(d, LSI_DSTAT);
  set8(d, LSI_DSTAT, LSI_DSTAT_DFE);
  unstack(d);
  if ((get8(d, LSI_ISTAT0) & LSI_ISTAT0_ABRT) != 0) setBits(d, LSI_DSTAT, LSI_DSTAT_ABRT);
  updateInterrupt(d);
  return value;
}

/** A read of SIST0 or SIST1. */
export function takeScsi(d: Lsi, at: u32): u32 {
  const value = get8(d, at);
  set8(d, at, 0);
  unstack(d);
  updateInterrupt(d);
  return value;
}

/** Brings SIP, DIP and the pin up to date. Masking does not take back what asserted the pin ([1] 2.2.16.4). */
export function updateInterrupt(d: Lsi): void {
  const sist0 = get8(d, LSI_SIST0);
  const sist1 = get8(d, LSI_SIST1);
  const dstat = get8(d, LSI_DSTAT) & ~LSI_DSTAT_DFE;
  const sien0 = get8(d, LSI_SIEN0);
  const sien1 = get8(d, LSI_SIEN1);
  const sip = ((sist0 & (~QUIET0 | sien0)) | (sist1 & (~QUIET1 | sien1))) != 0;
  const istat = get8(d, LSI_ISTAT0) & ~(LSI_ISTAT0_SIP | LSI_ISTAT0_DIP);
  set8(d, LSI_ISTAT0, istat | (sip ? LSI_ISTAT0_SIP : 0) | (dstat != 0 ? LSI_ISTAT0_DIP : 0));
  const onTheFly = (istat & LSI_ISTAT0_INTF) != 0 ? INTF_CAUSE : 0;
  d.cause &= sist0 | (sist1 << 8) | (dstat << 16) | onTheFly;
  if ((get8(d, LSI_ISTAT1) & LSI_ISTAT1_SI) == 0) {
    d.cause |= (sist0 & sien0) | ((sist1 & sien1) << 8) | ((dstat & get8(d, LSI_DIEN)) << 16) | onTheFly;
  }
  const line = d.cause != 0 && (get8(d, LSI_DCNTL) & LSI_DCNTL_IRQD) == 0;
  if (line != (d.wantsLine != 0)) setLine(d, line);
}

function isPending(d: Lsi): bool {
  return (get8(d, LSI_ISTAT0) & (LSI_ISTAT0_SIP | LSI_ISTAT0_DIP)) != 0;
}

/** The second level moves up once the first is read; the pin is released for a moment. */
function unstack(d: Lsi): void {
  updateInterrupt(d);
  if (d.stacked == 0 || isPending(d)) return;
  const bits = d.stacked;
  d.stacked = 0;
  setBits(d, LSI_SIST0, bits & 0xff);
  setBits(d, LSI_SIST1, (bits >>> 8) & 0xff);
  setBits(d, LSI_DSTAT, bits >>> 16);
}
