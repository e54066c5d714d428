// Registers of the HBA and its ports ([1] 3; references in hba.ts).
import { ATA_STATUS_BSY, ATA_STATUS_DRQ } from '../ata/regs';
import { coalesceIssued, coalesceRestart } from './coalesce';
import { runPort } from './command';
import { giveUp } from './errors';
import { Ahci, clearGlobal, isImplemented, Port, portAt, portStatus, updateGlobal, updatePort } from './hba';
import { postHeld, spinUp, writeControl } from './link';
import {
  AHCI_BOHC,
  AHCI_BOHC_OOC,
  AHCI_BOHC_OOS,
  AHCI_BOHC_WRITABLE,
  AHCI_CAP,
  AHCI_CAP_CCCS,
  AHCI_CAP_S64A,
  AHCI_CAP_SALP,
  AHCI_CAP_SAM,
  AHCI_CAP_SCLO,
  AHCI_CAP_SSS,
  AHCI_CAP2,
  AHCI_CAP2_BOH,
  AHCI_CCC_CTL,
  AHCI_CCC_EN,
  AHCI_CCC_PORTS,
  AHCI_CCC_SETTINGS,
  AHCI_CLB_MASK,
  AHCI_CMD_ALPE,
  AHCI_CMD_ASP,
  AHCI_CMD_ATAPI,
  AHCI_CMD_CCS_SHIFT,
  AHCI_CMD_CLO,
  AHCI_CMD_CR,
  AHCI_CMD_DLAE,
  AHCI_CMD_FR,
  AHCI_CMD_FRE,
  AHCI_CMD_ST,
  AHCI_CMD_SUD,
  AHCI_FB_MASK,
  AHCI_GHC,
  AHCI_GHC_AE,
  AHCI_GHC_HR,
  AHCI_GHC_IE,
  AHCI_IE_MASK,
  AHCI_IS,
  AHCI_PI,
  AHCI_PORT_STRIDE,
  AHCI_PORTS,
  AHCI_PX_CI,
  AHCI_PX_CLB,
  AHCI_PX_CLBU,
  AHCI_PX_CMD,
  AHCI_PX_FB,
  AHCI_PX_FBU,
  AHCI_PX_IE,
  AHCI_PX_IS,
  AHCI_PX_SACT,
  AHCI_PX_SCTL,
  AHCI_PX_SERR,
  AHCI_PX_SIG,
  AHCI_PX_SNTF,
  AHCI_PX_SSTS,
  AHCI_PX_TFD,
  AHCI_SCTL_MASK,
  AHCI_SERR_MASK,
  AHCI_VS,
} from './regs';
import { resetHba } from './reset';

/** The dword at `at`, a multiple of 4; 0 where no register is. */
export function readRegister(d: Ahci, at: u32): u32 {
  if (at >= <u32>AHCI_PORTS) {
    const number = (at - AHCI_PORTS) / AHCI_PORT_STRIDE;
    return isImplemented(d, number) ? readPort(portAt(d, number), at & (AHCI_PORT_STRIDE - 1)) : 0;
  }
  switch (at) {
    case AHCI_CAP:
      return d.cap;
    case AHCI_GHC:
      return d.ghc;
    case AHCI_IS:
      return d.is;
    case AHCI_PI:
      return d.pi;
    case AHCI_VS:
      return d.vs;
    case AHCI_CCC_CTL:
      return d.cccControl;
    case AHCI_CCC_PORTS:
      return d.cccPorts;
    case AHCI_CAP2:
      return d.cap2;
    case AHCI_BOHC:
      return d.bohc;
    default:
      return 0;
  }
}

function readPort(p: Port, at: u32): u32 {
  switch (at) {
    case AHCI_PX_CLB:
      return <u32>p.clb;
    case AHCI_PX_CLBU:
      return <u32>(p.clb >> 32);
    case AHCI_PX_FB:
      return <u32>p.fb;
    case AHCI_PX_FBU:
      return <u32>(p.fb >> 32);
    case AHCI_PX_IS:
      return portStatus(p);
    case AHCI_PX_IE:
      return p.ie;
    case AHCI_PX_CMD:
      return p.cmd | (p.current << AHCI_CMD_CCS_SHIFT);
    case AHCI_PX_TFD:
      return p.tfd;
    case AHCI_PX_SIG:
      return p.sig;
    case AHCI_PX_SSTS:
      return p.ssts;
    case AHCI_PX_SCTL:
      return p.sctl;
    case AHCI_PX_SERR:
      return p.serr;
    case AHCI_PX_SACT:
      return p.sact;
    case AHCI_PX_CI:
      return p.ci;
    default:
      return 0;
  }
}

/** Writes the dword at `at`, a multiple of 4. */
export function writeRegister(d: Ahci, at: u32, value: u32): void {
  if (at >= <u32>AHCI_PORTS) {
    const number = (at - AHCI_PORTS) / AHCI_PORT_STRIDE;
    if (isImplemented(d, number)) writePort(d, portAt(d, number), at & (AHCI_PORT_STRIDE - 1), value);
    return;
  }
  switch (at) {
    case AHCI_GHC:
      return writeGlobal(d, value);
    case AHCI_IS:
      return clearGlobal(d, value);
    case AHCI_CCC_CTL:
      return writeCoalescing(d, value);
    case AHCI_CCC_PORTS:
      if ((d.cap & AHCI_CAP_CCCS) != 0) d.cccPorts = value & d.pi;
      return;
    case AHCI_BOHC:
      return writeHandoff(d, value);
  }
}

/**
 * A write of one or two bytes, or across dwords, at any offset. In registers that ones clear or set, the bytes
 * that are not written count as zeroes; in the others they stay.
 */
export function writeBytes(d: Ahci, at: u32, size: u32, value: u32): void {
  const first = at & ~3;
  const shift = (at & 3) << 3;
  const mask = (<u64>(size == 4 ? 0xffffffff : ((<u32>1) << (size << 3)) - 1)) << shift;
  const wide = ((<u64>value) << shift) & mask;
  writePart(d, first, <u32>mask, <u32>wide);
  if (mask >> 32 != 0) writePart(d, first + 4, <u32>(mask >> 32), <u32>(wide >> 32));
}

function writePart(d: Ahci, at: u32, mask: u32, value: u32): void {
  if (writesOnes(at)) return writeRegister(d, at, value);
  const kept = at == <u32>AHCI_BOHC ? d.bohc & ~AHCI_BOHC_OOC : readRegister(d, at);
  writeRegister(d, at, (kept & ~mask) | value);
}

function writesOnes(at: u32): bool {
  if (at < <u32>AHCI_PORTS) return at == AHCI_IS;
  switch (at & (AHCI_PORT_STRIDE - 1)) {
    case AHCI_PX_IS:
    case AHCI_PX_SERR:
    case AHCI_PX_SACT:
    case AHCI_PX_CI:
    case AHCI_PX_SNTF:
      return true;
    default:
      return false;
  }
}

function writeGlobal(d: Ahci, value: u32): void {
  if ((value & AHCI_GHC_HR) != 0) return resetHba(d);
  const enable = (d.cap & AHCI_CAP_SAM) != 0 ? AHCI_GHC_AE : value & AHCI_GHC_AE;
  const before = d.ghc;
  d.ghc = enable | (value & AHCI_GHC_IE);
  if (before == d.ghc) return;
  updateGlobal(d);
  for (let i: u32 = 0; i < d.portCount; i++) if (isImplemented(d, i)) runPort(d, portAt(d, i));
}

function writeCoalescing(d: Ahci, value: u32): void {
  if ((d.cap & AHCI_CAP_CCCS) == 0) return;
  const enabled = d.cccControl & AHCI_CCC_EN;
  // CC and TV are read-only while EN is set ([1] 3.1.6).
  if (enabled == 0) d.cccControl = (d.cccControl & ~AHCI_CCC_SETTINGS) | (value & AHCI_CCC_SETTINGS);
  if ((value & AHCI_CCC_EN) == enabled) return;
  d.cccControl ^= AHCI_CCC_EN;
  coalesceRestart(d);
}

function writeHandoff(d: Ahci, value: u32): void {
  if ((d.cap2 & AHCI_CAP2_BOH) == 0) return;
  const changed = value & ~d.bohc & AHCI_BOHC_OOS;
  const kept = d.bohc & AHCI_BOHC_OOC & ~value;
  d.bohc = (value & AHCI_BOHC_WRITABLE) | kept | (changed != 0 ? AHCI_BOHC_OOC : 0);
}

function writePort(d: Ahci, p: Port, at: u32, value: u32): void {
  const wide = (d.cap & AHCI_CAP_S64A) != 0;
  switch (at) {
    case AHCI_PX_CI:
      if ((p.cmd & AHCI_CMD_ST) == 0) return;
      p.ci |= value & d.slots;
      coalesceIssued(d);
      return runPort(d, p);
    case AHCI_PX_SACT:
      if ((p.cmd & AHCI_CMD_ST) != 0) p.sact |= value & d.slots;
      return;
    case AHCI_PX_IS:
      p.is &= ~value;
      return;
    case AHCI_PX_IE:
      p.ie = value & AHCI_IE_MASK;
      return updatePort(d, p);
    case AHCI_PX_CMD:
      return writeCommand(d, p, value);
    case AHCI_PX_SCTL:
      return writeControl(d, p, value & AHCI_SCTL_MASK);
    case AHCI_PX_SERR:
      p.serr &= ~(value & AHCI_SERR_MASK);
      return;
    case AHCI_PX_CLB:
      p.clb = (p.clb & 0xffffffff00000000) | (value & AHCI_CLB_MASK);
      return;
    case AHCI_PX_CLBU:
      if (wide) p.clb = ((<u64>value) << 32) | (p.clb & 0xffffffff);
      return;
    case AHCI_PX_FB:
      p.fb = (p.fb & 0xffffffff00000000) | (value & AHCI_FB_MASK);
      return;
    case AHCI_PX_FBU:
      if (wide) p.fb = ((<u64>value) << 32) | (p.fb & 0xffffffff);
      return;
  }
}

/**
 * PxCMD. Requests for a low-power state (ICC) are refused by the device: the field reads 0 at once and the link
 * stays active. POD is read-only, as no port has cold presence detection.
 */
function writeCommand(d: Ahci, p: Port, value: u32): void {
  let writable: u32 = AHCI_CMD_ST | AHCI_CMD_FRE | AHCI_CMD_ATAPI | AHCI_CMD_DLAE;
  if ((d.cap & AHCI_CAP_SSS) != 0) writable |= AHCI_CMD_SUD;
  if ((d.cap & AHCI_CAP_SALP) != 0) writable |= AHCI_CMD_ALPE | AHCI_CMD_ASP;
  const before = p.cmd;
  let after = (before & ~writable) | (value & writable);
  after = (after & AHCI_CMD_ST) != 0 ? after | AHCI_CMD_CR : after & ~AHCI_CMD_CR;
  after = (after & AHCI_CMD_FRE) != 0 ? after | AHCI_CMD_FR : after & ~AHCI_CMD_FR;
  p.cmd = after;
  const changed = before ^ after;
  if ((changed & AHCI_CMD_SUD) != 0) spinUp(d, p, (after & AHCI_CMD_SUD) != 0);
  if ((changed & after & AHCI_CMD_FRE) != 0) postHeld(d, p);
  if ((changed & ~after & AHCI_CMD_ST) != 0) stop(p);
  // An error that came while the list did not run (a frame that found no memory) does not hold it up.
  else if ((changed & AHCI_CMD_ST) != 0) p.stopped = 0;
  // Command list override works on a stopped list only ([1] 3.3.7).
  if ((value & AHCI_CMD_CLO) != 0 && (d.cap & AHCI_CAP_SCLO) != 0 && (before & AHCI_CMD_ST) == 0) {
    p.tfd &= ~(ATA_STATUS_BSY | ATA_STATUS_DRQ);
  }
  runPort(d, p);
}

/**
 * ST was cleared: PxCI and PxSACT are 0, and what the device had is given up. It stays busy with a command that
 * was not queued, and keeps queued ones, until it is reset.
 */
function stop(p: Port): void {
  giveUp(p);
  p.ci = 0;
  p.sact = 0;
  p.current = 0;
  p.next = 0;
  p.stopped = 0;
}
