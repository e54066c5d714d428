// The controller's memory: its buffer ([1] 3.1.11, 3.1.12, 3.1.16, 3.1.17, 4.7) and its persistent region ([1] 3.1.26 to
// 3.1.31, 4.8; references in controller.ts). The host has them in BARs; commands name them by the addresses that the
// host puts them at, the BARs' own as a rule.
import { reserveTracked } from '../bus/arena';
import { DMA_BOTH } from '../bus/codes';
import { Device, profileWord } from '../bus/device';
import { PAGE_BYTES, WINDOW_DIRECT, WINDOW_HOST } from '../bus/layout';
import { addBar, PciFunction } from '../bus/pci';
import { PCI_BAR_64 } from '../bus/pci-regs';
import { nextRam } from '../bus/ram';
import { addWindow, setWindow } from '../bus/window';
import { Nvme } from './controller';
import {
  NVME_CAP_CMBS,
  NVME_CAP_PMRS,
  NVME_CMB_BAR,
  NVME_CMBLOC,
  NVME_CMBLOC_MIXED,
  NVME_CMBMSC,
  NVME_CMBMSC_CMSE,
  NVME_CMBMSC_CRE,
  NVME_CMBMSC_HIGH,
  NVME_CMBSTS,
  NVME_CMBSTS_CBAI,
  NVME_CMBSZ,
  NVME_CMBSZ_RDS,
  NVME_CMBSZ_SZ_SHIFT,
  NVME_CMBSZ_WDS,
  NVME_MEMORY_PAGES_MAX,
  NVME_PMR_BAR,
  NVME_PMRCAP,
  NVME_PMRCAP_BIR_SHIFT,
  NVME_PMRCAP_CLAIMS,
  NVME_PMRCTL,
  NVME_PMRCTL_EN,
  NVME_PMRMSCL,
  NVME_PMRMSCL_CMSE,
  NVME_PMRMSCU,
  NVME_PMRSTS,
  NVME_PMRSTS_CBAI,
  NVME_PMRSTS_NRDY,
  PROFILE_CMB,
  PROFILE_CMB_USES,
  PROFILE_PMR,
} from './regs';

const ADDRESS: u64 = 0xfffffffffffff000;

/** Makes what the profile has. The persistent region fills its BAR: a power of two. */
export function makeMemory(d: Nvme, f: PciFunction): bool {
  const device = changetype<Device>(changetype<usize>(d));
  const cmb = min<u32>(profileWord(PROFILE_CMB), NVME_MEMORY_PAGES_MAX);
  if (cmb != 0) {
    d.cmbBytes = cmb * PAGE_BYTES;
    const memory = reserveTracked(d.cmbBytes, PAGE_BYTES);
    if (memory == 0) return false;
    addBar(f, NVME_CMB_BAR, powerOfTwo(cmb) * PAGE_BYTES, PCI_BAR_64);
    d.cmb = <u32>addWindow(device, NVME_CMB_BAR, 0, d.cmbBytes, memory);
    if (d.cmb == 0) return false;
    d.cmbUses = profileWord(PROFILE_CMB_USES) & 0x1f;
    d.capHigh |= NVME_CAP_CMBS;
  }
  const pmr = min<u32>(profileWord(PROFILE_PMR), NVME_MEMORY_PAGES_MAX);
  if (pmr != 0) {
    d.pmrBytes = powerOfTwo(pmr) * PAGE_BYTES;
    const memory = reserveTracked(d.pmrBytes, PAGE_BYTES);
    if (memory == 0) return false;
    addBar(f, NVME_PMR_BAR, d.pmrBytes, PCI_BAR_64);
    d.pmr = <u32>addWindow(device, NVME_PMR_BAR, 0, d.pmrBytes, memory);
    if (d.pmr == 0) return false;
    d.capHigh |= NVME_CAP_PMRS;
  }
  return true;
}

function powerOfTwo(pages: u32): u32 {
  return pages <= 1 ? 1 : 1 << (32 - clz(pages - 1));
}

/** Closes both, as every reset but that by CC.EN does ([1] 7.3.2). What the persistent region holds stays. */
export function resetMemory(d: Nvme): void {
  d.cmbControl = 0;
  d.pmrOn = 0;
  d.pmrControl = 0;
  openBuffer(d);
  openRegion(d);
}

/** A register of the two; `at` is none of theirs: 0. */
export function readMemoryRegister(d: Nvme, at: u32): u32 {
  const buffer = (d.cmbControl & NVME_CMBMSC_CRE) != 0;
  const region = d.pmr != 0;
  switch (at) {
    // Without CRE there is nothing to see.
    case NVME_CMBLOC:
      return buffer ? NVME_CMB_BAR | NVME_CMBLOC_MIXED : 0;
    case NVME_CMBSZ:
      return buffer ? ((d.cmbBytes / PAGE_BYTES) << NVME_CMBSZ_SZ_SHIFT) | d.cmbUses : 0;
    case NVME_CMBMSC:
      return <u32>d.cmbControl;
    case NVME_CMBMSC_HIGH:
      return <u32>(d.cmbControl >> 32);
    case NVME_CMBSTS:
      return d.cmbInvalid != 0 ? NVME_CMBSTS_CBAI : 0;
    case NVME_PMRCAP:
      return region ? (NVME_PMR_BAR << NVME_PMRCAP_BIR_SHIFT) | NVME_PMRCAP_CLAIMS : 0;
    case NVME_PMRCTL:
      return d.pmrOn;
    case NVME_PMRSTS:
      return region ? (d.pmrOn != 0 ? 0 : NVME_PMRSTS_NRDY) | (d.pmrInvalid != 0 ? NVME_PMRSTS_CBAI : 0) : 0;
    case NVME_PMRMSCL:
      return <u32>d.pmrControl;
    case NVME_PMRMSCU:
      return <u32>(d.pmrControl >> 32);
    default:
      // PMREBS and PMRSWTP: there is no elasticity buffer, and nothing is said of the speed.
      return 0;
  }
}

export function writeMemoryRegister(d: Nvme, at: u32, value: u32): void {
  if (d.cmb != 0 && (at == <u32>NVME_CMBMSC || at == <u32>NVME_CMBMSC_HIGH)) {
    const known = ADDRESS | NVME_CMBMSC_CRE | NVME_CMBMSC_CMSE;
    d.cmbControl = half(d.cmbControl, value, at == <u32>NVME_CMBMSC_HIGH) & known;
    openBuffer(d);
  } else if (d.pmr != 0 && (at == <u32>NVME_PMRMSCL || at == <u32>NVME_PMRMSCU)) {
    d.pmrControl = half(d.pmrControl, value, at == <u32>NVME_PMRMSCU) & (ADDRESS | NVME_PMRMSCL_CMSE);
    openRegion(d);
  } else if (d.pmr != 0 && at == <u32>NVME_PMRCTL) {
    d.pmrOn = value & NVME_PMRCTL_EN;
    openRegion(d);
  }
}

function half(old: u64, value: u32, high: bool): u64 {
  return high ? (old & 0xffffffff) | ((<u64>value) << 32) : (old & 0xffffffff00000000) | value;
}

function openBuffer(d: Nvme): void {
  if (d.cmb == 0) return;
  const base = d.cmbControl & ADDRESS;
  const direct = (d.cmbControl & NVME_CMBMSC_CRE) != 0 && (d.cmbControl & NVME_CMBMSC_CMSE) != 0;
  d.cmbInvalid = direct && isTaken(base, d.cmbBytes) ? 1 : 0;
  d.cmbDirect = direct && d.cmbInvalid == 0 ? 1 : 0;
  // The BAR decodes without CRE, which hides registers ([1] 3.1.16); so does that of common virtual controllers.
  setWindow(d.cmb, WINDOW_HOST | (d.cmbDirect != 0 ? WINDOW_DIRECT : 0), DMA_BOTH, base);
}

function openRegion(d: Nvme): void {
  if (d.pmr == 0) return;
  const base = d.pmrControl & ADDRESS;
  const on = d.pmrOn != 0;
  const direct = on && (d.pmrControl & NVME_PMRMSCL_CMSE) != 0;
  d.pmrInvalid = direct && isTaken(base, d.pmrBytes) ? 1 : 0;
  d.pmrDirect = direct && d.pmrInvalid == 0 ? 1 : 0;
  setWindow(d.pmr, (on ? WINDOW_HOST : 0) | (d.pmrDirect != 0 ? WINDOW_DIRECT : 0), DMA_BOTH, base);
}

/** The controller's memory cannot stand where RAM does, nor at the end of all addresses. */
function isTaken(base: u64, bytes: u32): bool {
  return base + bytes < base || nextRam(base) - base < <u64>bytes;
}

/** Whether the bytes touch controller memory that is not for this use, an NVME_CMBSZ_* bit ([1] 3.1.12, 3.1.26). */
export function isMisused(d: Nvme, address: u64, bytes: u32, use: u32): bool {
  if ((d.cmbDirect | d.pmrDirect) == 0) return false;
  if (d.cmbDirect != 0 && (d.cmbUses & use) == 0) {
    if (overlaps(address, bytes, d.cmbControl & ADDRESS, d.cmbBytes)) return true;
  }
  // Data alone goes to the persistent region.
  const data: u32 = NVME_CMBSZ_RDS | NVME_CMBSZ_WDS;
  return (
    d.pmrDirect != 0 && (use & data) == 0 && overlaps(address, bytes, d.pmrControl & ADDRESS, d.pmrBytes)
  );
}

function overlaps(a: u64, aBytes: u32, b: u64, bBytes: u32): bool {
  return a - b < <u64>bBytes || b - a < <u64>aBytes;
}
