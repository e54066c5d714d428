// The register file ([1] chapter 4; references in chip.ts): which bits software writes, and what reads and writes do
// beside. All of it a byte at a time; model.ts puts wider accesses together, SCRIPTS's are readWord() and writeWord().
import { cancel } from '../bus/clock';
import { functionOf } from '../bus/device';
import { barAddress } from '../bus/pci';
import {
  armReselection,
  beginArbitration,
  dropBus,
  linesOf,
  releaseAck,
  setAtn,
  signalled,
  startGeneral,
} from './bus';
import {
  clearBits,
  clearRegisters,
  EVENT_ARBITRATE,
  EVENT_GENERAL,
  EVENT_SELECTION,
  get8,
  get32,
  isConnected,
  Lsi,
  messageIn,
  set8,
  set32,
  setBits,
} from './chip';
import { postDma, postScsi, stop, takeDma, takeScsi, updateInterrupt } from './interrupt';
import { start } from './processor';
import {
  LSI_BAR_MEMORY,
  LSI_BAR_RAM,
  LSI_CCNTL0,
  LSI_CCNTL1,
  LSI_CTEST1,
  LSI_CTEST1_FMT,
  LSI_CTEST2,
  LSI_CTEST2_CIO,
  LSI_CTEST2_CM,
  LSI_CTEST2_DACK,
  LSI_CTEST2_PCICIE,
  LSI_CTEST2_SIGP,
  LSI_DCNTL,
  LSI_DCNTL_COM,
  LSI_DCNTL_PFF,
  LSI_DCNTL_STD,
  LSI_DIEN,
  LSI_DMODE,
  LSI_DMODE_MAN,
  LSI_DSA,
  LSI_DSP,
  LSI_DSTAT,
  LSI_DSTAT_ABRT,
  LSI_DSTAT_DFE,
  LSI_GPCNTL,
  LSI_GPCNTL_GPIO,
  LSI_GPREG,
  LSI_ISTAT0,
  LSI_ISTAT0_ABRT,
  LSI_ISTAT0_CON,
  LSI_ISTAT0_DIP,
  LSI_ISTAT0_INTF,
  LSI_ISTAT0_SIGP,
  LSI_ISTAT0_SIP,
  LSI_ISTAT0_SRST,
  LSI_ISTAT1,
  LSI_MMRS,
  LSI_PHASE_MESSAGE_IN,
  LSI_RESPID0,
  LSI_RESPID1,
  LSI_SBCL,
  LSI_SBCL_ACK,
  LSI_SBCL_ATN,
  LSI_SBDL,
  LSI_SCID,
  LSI_SCNTL0,
  LSI_SCNTL0_ARB,
  LSI_SCNTL0_START,
  LSI_SCNTL1,
  LSI_SCNTL1_RST,
  LSI_SCNTL2,
  LSI_SCNTL2_WSR,
  LSI_SCNTL2_WSS,
  LSI_SCRATCHA,
  LSI_SCRATCHB,
  LSI_SCRATCHC,
  LSI_SFBR,
  LSI_SIEN0,
  LSI_SIEN1,
  LSI_SIST0,
  LSI_SIST0_RST,
  LSI_SIST1,
  LSI_SOCL,
  LSI_SSTAT0,
  LSI_SSTAT0_RST,
  LSI_STEST0,
  LSI_STEST0_SOM,
  LSI_STEST0_SOZ,
  LSI_STEST1,
  LSI_STEST1_QEN,
  LSI_STEST4,
  LSI_STEST4_LOCK,
  LSI_STEST4_SMODE_LVD,
  LSI_STIME1,
  LSI_TEMP,
} from './regs';
import { leave, resetBus } from './target';

/** Bits that are stored when software writes them, 00h to 5Fh. */
const WRITABLE: StaticArray<u8> = [
  0xfb, 0xef, 0xff, 0xff, 0x6f, 0xff, 0x0f, 0x1f, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff,
  0xff, 0xff, 0xf0, 0x01, 0xff, 0xff, 0xff, 0x00, 0x08, 0x03, 0xff, 0xff, 0xff, 0xff, 0x00, 0xff, 0xfc, 0xff,
  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
  0xff, 0xff, 0xff, 0x7d, 0xff, 0xbb, 0x00, 0x00, 0x00, 0x00, 0xff, 0x17, 0x00, 0x00, 0xff, 0xff, 0x0f, 0xff,
  0xff, 0x7f, 0xff, 0xff, 0x00, 0xcc, 0xff, 0xfd, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xf3, 0x8f, 0x00, 0x00,
  0x00, 0x00, 0xff, 0xff, 0xff, 0xff,
];
/** Behind DNAD64 and behind CSBC nothing is stored; SBC is read-only. */
const RESERVED_FIRST: u32 = 0xbc;
const RESERVED_LAST: u32 = 0xbf;
const COUNT_FIRST: u32 = 0xd8;
const COUNT_LAST: u32 = 0xdb;
const REGISTERS_END: u32 = 0xe0;

/** All registers as after power-on; the compatibility bit survives what software resets ([1] ISTAT0.SRST). */
export function resetRegisters(d: Lsi, powerOn: bool): void {
  const compatible = powerOn ? 0 : get8(d, LSI_DCNTL) & LSI_DCNTL_COM;
  clearRegisters(d);
  set8(d, LSI_SCNTL0, LSI_SCNTL0_ARB);
  set8(d, LSI_DSTAT, LSI_DSTAT_DFE);
  set8(d, LSI_CTEST1, LSI_CTEST1_FMT);
  set8(d, LSI_CTEST2, LSI_CTEST2_CIO | LSI_CTEST2_CM | LSI_CTEST2_DACK);
  set8(d, LSI_DCNTL, compatible);
  set8(d, LSI_GPCNTL, LSI_GPCNTL_GPIO >>> 1);
  set8(d, LSI_STEST0, LSI_STEST0_SOZ | LSI_STEST0_SOM);
}

/** SRST, and the hardware resets: the chip lets go of the bus, and the target in the nexus of its command. */
export function resetChip(d: Lsi, powerOn: bool): void {
  stop(d);
  cancel(d, EVENT_ARBITRATE, 0);
  cancel(d, EVENT_SELECTION, 0);
  cancel(d, EVENT_GENERAL, 0);
  leave(d);
  dropBus(d);
  d.selecting = 0;
  d.contends = 0;
  d.lowLevel = 0;
  d.carry = 0;
  d.stacked = 0;
  resetRegisters(d, powerOn);
  updateInterrupt(d);
}

/** Where a register's byte is in this chip: those without the upper half have the lower one twice. */
function placeOf(d: Lsi, at: u32): u32 {
  return d.mismatchJumps == 0 ? at & 0x7f : at;
}

export function readRegister(d: Lsi, register: u32): u32 {
  const at = placeOf(d, register);
  switch (at) {
    case LSI_GPREG: {
      // Pins that are inputs are pulled up.
      const inputs = get8(d, LSI_GPCNTL) & LSI_GPCNTL_GPIO;
      return (get8(d, at) & ~inputs) | inputs;
    }
    case LSI_SOCL:
      return (get8(d, at) & ~(LSI_SBCL_ATN | LSI_SBCL_ACK)) | (linesOf(d) & (LSI_SBCL_ATN | LSI_SBCL_ACK));
    case LSI_SBCL:
      return linesOf(d);
    case LSI_DSTAT:
      return takeDma(d);
    case LSI_SIST0:
    case LSI_SIST1:
      return takeScsi(d, at);
    case LSI_ISTAT0:
      return get8(d, at) | (isConnected(d) ? LSI_ISTAT0_CON : 0);
    case LSI_CTEST2:
      return takeSignal(d);
    case LSI_SBDL:
      return d.req != 0 && d.phase == LSI_PHASE_MESSAGE_IN ? <u32>load<u8>(messageIn(d) + d.inAt) : 0;
    case LSI_STEST4:
      if (d.mismatchJumps == 0) return 0;
      return LSI_STEST4_SMODE_LVD | ((get8(d, LSI_STEST1) & LSI_STEST1_QEN) != 0 ? LSI_STEST4_LOCK : 0);
    default:
      return showsAddress(d, at) ? addressByte(d, at) : get8(d, at);
  }
}

/** The four bytes at a multiple of four, read one by one but where that is the same. */
export function readWord(d: Lsi, register: u32): u32 {
  if (register == <u32>LSI_DSA || register == <u32>LSI_TEMP) return get32(d, register);
  let word: u32 = 0;
  for (let i: u32 = 0; i < 4; i++) word |= readRegister(d, register + i) << (8 * i);
  return word;
}

/** As readWord(), by SCRIPTS. Most of what they load are addresses, and used at once as a word. */
export function writeWord(d: Lsi, register: u32, word: u32): void {
  if (register == <u32>LSI_DSA || register == <u32>LSI_TEMP || register == <u32>LSI_SCRATCHA)
    return set32(d, register, word);
  for (let i: u32 = 0; i < 4; i++) writeRegister(d, register + i, (word >>> (8 * i)) & 0xff, true);
}

/** A read of CTEST2 has the signal, and takes it. */
function takeSignal(d: Lsi): u32 {
  const signal = get8(d, LSI_ISTAT0) & LSI_ISTAT0_SIGP;
  clearBits(d, LSI_ISTAT0, LSI_ISTAT0_SIGP);
  return get8(d, LSI_CTEST2) | (signal != 0 ? LSI_CTEST2_SIGP : 0);
}

/** CTEST2.PCICIE: SCRATCHA and SCRATCHB have the addresses of the registers and of the RAM. */
function showsAddress(d: Lsi, at: u32): bool {
  if ((get8(d, LSI_CTEST2) & LSI_CTEST2_PCICIE) == 0) return false;
  return (at & ~3) == LSI_SCRATCHA || (at & ~3) == LSI_SCRATCHB;
}

function addressByte(d: Lsi, at: u32): u32 {
  const bar: u32 = (at & ~3) == LSI_SCRATCHA ? LSI_BAR_MEMORY : LSI_BAR_RAM;
  if (bar == LSI_BAR_RAM && d.ram == 0) return 0;
  return (<u32>barAddress(functionOf(d), bar) >>> ((at & 3) << 3)) & 0xff;
}

/** A byte is written, by SCRIPTS or by the CPU, which does not reach SFBR. */
export function writeRegister(d: Lsi, register: u32, value: u32, byScripts: bool): void {
  const at = placeOf(d, register);
  switch (at) {
    case LSI_SCNTL0:
      return writeControl0(d, value);
    case LSI_SCNTL1:
      return writeControl1(d, value);
    case LSI_SCNTL2: {
      // The flags of wide residues are cleared by ones.
      const flags = get8(d, at) & ~value & (LSI_SCNTL2_WSS | LSI_SCNTL2_WSR);
      return set8(d, at, (value & ~(LSI_SCNTL2_WSS | LSI_SCNTL2_WSR)) | flags);
    }
    case LSI_SFBR:
      if (byScripts) set8(d, at, value);
      return;
    case LSI_SOCL:
      set8(d, at, value);
      setAtn(d, (value & LSI_SBCL_ATN) != 0);
      if ((value & LSI_SBCL_ACK) == 0) releaseAck(d);
      return;
    case LSI_ISTAT0:
      return writeStatus(d, value);
    case LSI_DSP + 3:
      set8(d, at, value);
      if ((get8(d, LSI_DMODE) & LSI_DMODE_MAN) == 0) start(d);
      return;
    case LSI_DCNTL:
      set8(d, at, value & ~(LSI_DCNTL_PFF | LSI_DCNTL_STD));
      updateInterrupt(d);
      if ((value & LSI_DCNTL_STD) != 0 && d.running == 0) start(d);
      return;
    case LSI_CCNTL0:
      if (d.mismatchJumps == 0) return;
      break;
    case LSI_CCNTL1:
      if (d.dualAddress == 0) return;
      break;
  }
  storeRegister(d, at, value);
}

/** Stores what is writable; some registers say more than they hold. */
function storeRegister(d: Lsi, at: u32, value: u32): void {
  let mask: u32 = 0xff;
  if (at < <u32>LSI_SCRATCHC) mask = unchecked(WRITABLE[at]);
  else if (at < <u32>LSI_MMRS && d.wide == 0) mask = 0;
  else if (at >= RESERVED_FIRST && at <= RESERVED_LAST) mask = 0;
  else if ((at >= COUNT_FIRST && at <= COUNT_LAST) || at >= REGISTERS_END) mask = 0;
  set8(d, at, (get8(d, at) & ~mask) | (value & mask));
  switch (at) {
    case LSI_SIEN0:
    case LSI_SIEN1:
    case LSI_DIEN:
    case LSI_ISTAT1:
      return updateInterrupt(d);
    case LSI_SCID:
    case LSI_RESPID0:
    case LSI_RESPID1:
      return armReselection(d);
    case LSI_STIME1:
      return startGeneral(d);
  }
}

/** START: a selection without SCRIPTS. */
function writeControl0(d: Lsi, value: u32): void {
  const starts = (value & ~get8(d, LSI_SCNTL0) & LSI_SCNTL0_START) != 0;
  set8(d, LSI_SCNTL0, value & unchecked(WRITABLE[LSI_SCNTL0]));
  if (!starts || isConnected(d) || d.running != 0) return;
  d.lowLevel = 1;
  d.atn = 0;
  beginArbitration(d);
}

/** RST: the chip hears the reset that it drives. */
function writeControl1(d: Lsi, value: u32): void {
  const mask: u32 = unchecked(WRITABLE[LSI_SCNTL1]);
  set8(d, LSI_SCNTL1, (get8(d, LSI_SCNTL1) & ~mask) | (value & mask));
  if ((value & LSI_SCNTL1_RST) == 0) return clearBits(d, LSI_SSTAT0, LSI_SSTAT0_RST);
  if ((get8(d, LSI_SSTAT0) & LSI_SSTAT0_RST) != 0) return;
  setBits(d, LSI_SSTAT0, LSI_SSTAT0_RST);
  cancel(d, EVENT_ARBITRATE, 0);
  clearBits(d, LSI_SCNTL0, LSI_SCNTL0_START);
  d.lowLevel = 0;
  resetBus(d);
  postScsi(d, LSI_SIST0_RST, 0);
}

/** ISTAT0. A reset chip works although SRST is to be cleared first: SeaBIOS leaves it set. */
function writeStatus(d: Lsi, value: u32): void {
  if ((value & LSI_ISTAT0_SRST) != 0) {
    resetChip(d, false);
    set8(d, LSI_ISTAT0, LSI_ISTAT0_SRST);
    return;
  }
  const old = get8(d, LSI_ISTAT0);
  const kept = old & ~value & LSI_ISTAT0_INTF;
  set8(d, LSI_ISTAT0, (old & (LSI_ISTAT0_SIP | LSI_ISTAT0_DIP)) | kept | (value & 0xf0));
  updateInterrupt(d);
  if ((value & ~old & LSI_ISTAT0_ABRT) != 0) postDma(d, LSI_DSTAT_ABRT);
  if ((value & LSI_ISTAT0_SIGP) != 0) signalled(d);
}
