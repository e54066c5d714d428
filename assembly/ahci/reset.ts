// Resets of the HBA ([1] 10.4.3; references in hba.ts).
import { cancel } from '../bus/clock';
import { resetFunction } from '../bus/pci';
import { coalesceRestart } from './coalesce';
import { Ahci, EVENT_RETRY, isImplemented, NO_SLOT, Port, portAt, updateGlobal } from './hba';
import { linkAfterReset } from './link';
import {
  AHCI_CAP_SAM,
  AHCI_CAP_SSS,
  AHCI_CCC_INT_SHIFT,
  AHCI_CMD_POD,
  AHCI_CMD_SUD,
  AHCI_GHC_AE,
} from './regs';

/** GHC.HR: ports, IS and GHC are reset; base addresses and the other global registers stay. */
export function resetHba(d: Ahci): void {
  cancel(d, EVENT_RETRY, 0);
  d.retrying = 0;
  for (let i: u32 = 0; i < d.portCount; i++) if (isImplemented(d, i)) resetPort(d, portAt(d, i));
  d.is = 0;
  d.ghc = (d.cap & AHCI_CAP_SAM) != 0 ? AHCI_GHC_AE : 0;
  coalesceRestart(d);
  updateGlobal(d);
}

/** Power-on, RST#, D3hot to D0: everything. */
export function resetAll(d: Ahci): void {
  for (let i: u32 = 0; i < d.portCount; i++) {
    portAt(d, i).clb = 0;
    portAt(d, i).fb = 0;
  }
  // One completion, one millisecond ([1] 3.1.6).
  d.cccControl = d.cccControl == 0 ? 0 : 0x00010100 | (d.cccControl & (31 << AHCI_CCC_INT_SHIFT));
  d.cccPorts = 0;
  d.bohc = 0;
  d.index = 0;
  resetHba(d);
  resetFunction(d);
}

function resetPort(d: Ahci, p: Port): void {
  p.is = 0;
  p.ie = 0;
  p.serr = 0;
  p.sctl = 0;
  p.sact = 0;
  p.ci = 0;
  p.current = 0;
  p.next = 0;
  p.busy = NO_SLOT;
  p.cmd = AHCI_CMD_POD | ((d.cap & AHCI_CAP_SSS) != 0 ? 0 : AHCI_CMD_SUD);
  linkAfterReset(d, p);
  p.stopped = 0;
}
