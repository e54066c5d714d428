// Interrupts of completion queues ([1] 7.5; references in controller.ts). A queue whose entries were posted is dirty until
// the events that are due now are through: so many completions, one interrupt.
import { cancel, headDevice, nextDue, now, schedule } from '../bus/clock';
import { functionOf } from '../bus/device';
import { setLine } from '../bus/irq';
import { msixEnabled, sendMsix } from '../bus/msix';
import { msiEnabled, sendMsi } from '../bus/pci';
import { bit, completionsAt, EVENT_COALESCE, Nvme } from './controller';
import { feature } from './features';
import { NVME_FEATURE_COALESCING } from './regs';

/** Aggregation time is in these ([1] 5.21.1.8). */
const COALESCE_NS: u64 = 100_000;

/** Interrupts for what was posted, unless the controller's next event is due now as well. */
export function flushInterrupts(d: Nvme): void {
  if (d.dirty == 0) return;
  if (nextDue() == now() && headDevice() == <u32>changetype<usize>(d)) return;
  let left = d.dirty;
  d.dirty = 0;
  while (left != 0) {
    const id = <u32>ctz(left);
    left &= left - 1;
    if (!coalesces(d, id)) interrupt(d, id);
  }
}

/** Whether the interrupt waits for more completions or for the timer ([1] 5.21.1.8; never the admin queue's). */
function coalesces(d: Nvme, id: u32): bool {
  const setting = feature(d, NVME_FEATURE_COALESCING);
  const threshold = setting & 0xff;
  const time = (setting >>> 8) & 0xff;
  const vector = completionsAt(d, id).vector;
  if (id == 0 || threshold == 0 || time == 0 || (d.coalesceOff & bit(vector)) != 0) return false;
  const q = completionsAt(d, id);
  const waiting = (q.tail + q.size - q.head) % q.size;
  if (waiting > threshold) return false;
  if ((d.coalesceTimers & bit(id)) != 0) return true;
  if (!schedule(d, EVENT_COALESCE, id, time * COALESCE_NS)) return false;
  d.coalesceTimers |= bit(id);
  return true;
}

/** EVENT_COALESCE: time is up. */
export function coalesceTimeout(d: Nvme, id: u32): void {
  d.coalesceTimers &= ~bit(id);
  const q = completionsAt(d, id);
  if (q.exists != 0 && q.tail != q.head) interrupt(d, id);
}

function interrupt(d: Nvme, id: u32): void {
  const q = completionsAt(d, id);
  if (q.exists == 0 || q.interrupts == 0) return;
  stopTimer(d, id);
  if (q.tail == q.head) return;
  if (msixEnabled(functionOf(d))) {
    sendMsix(d, q.vector);
    return;
  }
  d.raised |= bit(id);
  updateInterrupt(d);
  if (msiEnabled(functionOf(d)) && (d.masked & 1) == 0) sendMsi(d);
}

/** The pin follows the queues that hold entries, unless INTMS masks it. */
export function updateInterrupt(d: Nvme): void {
  setLine(d, d.raised != 0 && (d.masked & 1) == 0);
}

/** Software wrote INTMS or INTMC: by message, what is pending is sent again when it is no longer masked. */
export function setMask(d: Nvme, masked: u32): void {
  const opened = (d.masked & ~masked & 1) != 0;
  d.masked = masked;
  updateInterrupt(d);
  if (opened && d.raised != 0 && msiEnabled(functionOf(d))) sendMsi(d);
}

/** The host took entries; a queue that is empty no longer wants an interrupt. */
export function taken(d: Nvme, id: u32): void {
  if (completionsAt(d, id).head != completionsAt(d, id).tail) return;
  if ((d.raised & bit(id)) == 0) return;
  d.raised &= ~bit(id);
  updateInterrupt(d);
}

/** The queue is gone. */
export function forgetInterrupt(d: Nvme, id: u32): void {
  stopTimer(d, id);
  d.dirty &= ~bit(id);
  d.raised &= ~bit(id);
  updateInterrupt(d);
}

function stopTimer(d: Nvme, id: u32): void {
  if ((d.coalesceTimers & bit(id)) == 0) return;
  cancel(d, EVENT_COALESCE, id);
  d.coalesceTimers &= ~bit(id);
}
