// The registers of the LSI53C895A by name, as SCRIPTS programs write them.
//
// [1] LSI53C895A PCI to Ultra2 SCSI Controller Technical Manual 2.2, chapter 4

/** First address of a register, name, bytes. Those of several bytes are NAME0, NAME1 …, and NAME for the first. */
const TABLE: readonly (readonly [number, string, number])[] = [
  [0x00, 'SCNTL', -4],
  [0x04, 'SCID', 1],
  [0x05, 'SXFER', 1],
  [0x06, 'SDID', 1],
  [0x07, 'GPREG', 1],
  [0x08, 'SFBR', 1],
  [0x09, 'SOCL', 1],
  [0x0a, 'SSID', 1],
  [0x0b, 'SBCL', 1],
  [0x0c, 'DSTAT', 1],
  [0x0d, 'SSTAT', -3],
  [0x10, 'DSA', 4],
  [0x14, 'ISTAT', 2],
  [0x16, 'MBOX', -2],
  [0x18, 'CTEST', -4],
  [0x1c, 'TEMP', 4],
  [0x20, 'DFIFO', 1],
  [0x21, 'CTEST4', 1],
  [0x22, 'CTEST5', 1],
  [0x23, 'CTEST6', 1],
  [0x24, 'DBC', 3],
  [0x27, 'DCMD', 1],
  [0x28, 'DNAD', 4],
  [0x2c, 'DSP', 4],
  [0x30, 'DSPS', 4],
  [0x34, 'SCRATCHA', 4],
  [0x38, 'DMODE', 1],
  [0x39, 'DIEN', 1],
  [0x3a, 'SBR', 1],
  [0x3b, 'DCNTL', 1],
  [0x3c, 'ADDER', 4],
  [0x40, 'SIEN', -2],
  [0x42, 'SIST', -2],
  [0x44, 'SLPAR', 1],
  [0x45, 'SWIDE', 1],
  [0x46, 'MACNTL', 1],
  [0x47, 'GPCNTL', 1],
  [0x48, 'STIME', -2],
  [0x4a, 'RESPID', -2],
  [0x4c, 'STEST', -4],
  [0x50, 'SIDL', 2],
  [0x52, 'STEST4', 1],
  [0x54, 'SODL', 2],
  [0x56, 'CCNTL', -2],
  [0x58, 'SBDL', 2],
  [0x5c, 'SCRATCHB', 4],
  ...Array.from({ length: 16 }, (_, i) => [0x60 + 4 * i, `SCRATCH${'CDEFGHIJKLMNOPQR'[i]}`, 4] as const),
  [0xa0, 'MMRS', 4],
  [0xa4, 'MMWS', 4],
  [0xa8, 'SFS', 4],
  [0xac, 'DRS', 4],
  [0xb0, 'SBMS', 4],
  [0xb4, 'DBMS', 4],
  [0xb8, 'DNAD64', 4],
  [0xc0, 'PMJAD1', 4],
  [0xc4, 'PMJAD2', 4],
  [0xc8, 'RBC', 4],
  [0xcc, 'UA', 4],
  [0xd0, 'ESA', 4],
  [0xd4, 'IA', 4],
  [0xd8, 'SBC', 3],
  [0xdc, 'CSBC', 4],
];

export const SFBR = 0x08;

const addresses = new Map<string, number>();
const names = new Map<number, string>();
for (const [first, name, bytes] of TABLE) {
  for (let i = 0; i < Math.abs(bytes); i++) {
    // A name that ends in a digit takes its bytes' numbers behind a point: PMJAD1.0.
    const full = bytes === 1 ? name : `${name}${/\d$/.test(name) ? '.' : ''}${i}`;
    addresses.set(full, first + i);
    names.set(first + i, full);
  }
  if (bytes > 1) addresses.set(name, first);
}

/** Every name that a register has. */
export const REGISTER_NAMES: readonly string[] = [...addresses.keys()];

/** The address of a register, in any case; undefined when no register is called so. */
export function registerAddress(name: string): number | undefined {
  return addresses.get(name.toUpperCase());
}

/** The name of the register at an address, `REG(0x53)` where none is. */
export function registerName(address: number): string {
  return names.get(address) ?? `REG(0x${address.toString(16).padStart(2, '0')})`;
}
