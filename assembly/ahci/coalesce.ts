// Command completion coalescing ([1] 11; references in hba.ts): one interrupt for many completions, by their
// number or by a timer.
import { cancel, schedule } from '../bus/clock';
import { Ahci, EVENT_COALESCE, isImplemented, Port, portAt, raiseGlobal } from './hba';
import { AHCI_CCC_CC_SHIFT, AHCI_CCC_EN, AHCI_CCC_INT_SHIFT, AHCI_CCC_TV_SHIFT } from './regs';

const MILLISECOND: u64 = 1_000_000;

/** A command of the port is complete. */
export function coalesce(d: Ahci, p: Port): void {
  if ((d.cccControl & AHCI_CCC_EN) == 0 || ((d.cccPorts >>> p.number) & 1) == 0) return;
  d.cccDone++;
  const wanted = (d.cccControl >>> AHCI_CCC_CC_SHIFT) & 0xff;
  if (wanted != 0 && d.cccDone >= wanted) signal(d);
  else arm(d);
}

/** Commands were issued: the timer runs while some are outstanding. */
export function coalesceIssued(d: Ahci): void {
  if ((d.cccControl & AHCI_CCC_EN) != 0 && outstanding(d)) arm(d);
}

/** Starts the timer where it does not run. A time of 0 is reserved ([1] 3.1.6) and counts as the shortest. */
function arm(d: Ahci): void {
  if (d.cccTimer != 0) return;
  const milliseconds = <u64>max<u32>(1, d.cccControl >>> AHCI_CCC_TV_SHIFT);
  if (schedule(d, EVENT_COALESCE, 0, milliseconds * MILLISECOND)) d.cccTimer = 1;
}

/**
 * EVENT_COALESCE: the timer has run out. With nothing to report it stays off until a command is issued or ends: one
 * that never ends must not keep the clock busy.
 */
export function coalesceTimeout(d: Ahci): void {
  d.cccTimer = 0;
  if (d.cccDone != 0) signal(d);
}

/** The feature is switched, or the HBA reset: counts and timer begin anew. */
export function coalesceRestart(d: Ahci): void {
  if (d.cccTimer != 0) cancel(d, EVENT_COALESCE, 0);
  d.cccTimer = 0;
  d.cccDone = 0;
  coalesceIssued(d);
}

function signal(d: Ahci): void {
  coalesceRestart(d);
  raiseGlobal(d, 1 << ((d.cccControl >>> AHCI_CCC_INT_SHIFT) & 31));
}

function outstanding(d: Ahci): bool {
  for (let i: u32 = 0; i < d.portCount; i++) {
    if (((d.cccPorts >>> i) & 1) == 0 || !isImplemented(d, i)) continue;
    const p = portAt(d, i);
    if ((p.ci | p.sact) != 0) return true;
  }
  return false;
}
