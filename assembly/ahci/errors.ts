// What stops a port, and how its commands are given up ([1] 6; references in hba.ts).
import { abortPacket } from '../ata/packet';
import { dropRequest, Request } from '../media/media';
import { Ahci, ataOf, NO_SLOT, Port, raise, slotAt } from './hba';
import { AHCI_IS_HBFS, AHCI_IS_IFS, AHCI_SERR_H } from './regs';

/** Structures or data are where no memory answers ([1] 6.1.1): the port stops where it is. */
export function hostError(d: Ahci, p: Port): void {
  giveUp(p);
  p.stopped = 1;
  raise(d, p, AHCI_IS_HBFS);
}

/** The device refused the frame that the command table holds ([1] 6.1.2). */
export function interfaceError(d: Ahci, p: Port): void {
  giveUp(p);
  p.stopped = 1;
  p.serr |= AHCI_SERR_H;
  raise(d, p, AHCI_IS_IFS);
}

/** Forgets every command of the port that a medium works on; the registers still show them. */
export function giveUp(p: Port): void {
  let left = p.active;
  p.active = 0;
  p.waiting = 0;
  p.busy = NO_SLOT;
  while (left != 0) {
    const s = slotAt(p, ctz(left));
    left &= left - 1;
    if (s.request != 0) dropRequest(changetype<Request>(<usize>s.request));
    s.request = 0;
  }
  abortPacket(ataOf(p));
}
