// The geometry of a disk as a BIOS counts it: what a device's options say, else what a partition table was made with.

import { QtestError } from './errors.ts';
import { type Options, toNumber } from './options.ts';

/** How a BIOS makes the geometry of its callers out of the disk's own, as the number of the setting for it. */
const TRANSLATIONS: readonly string[] = ['none', 'lba', 'large', 'rechs'];

export interface Geometry {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectors: number;
  /** 0 none, 1 LBA, 2 large, 3 revised ECHS. */
  readonly translation: number;
}

/** Bounds of a disk's own geometry: ATA-4 6.2.1; a BIOS without translation stops at 1024 cylinders. */
const CYLINDERS_MAX = 16383;
const HEADS = 16;
const SECTORS = 63;
const INT13_CYLINDERS = 1024;
/** Cylinders times heads up to which shifting bits from one to the other is enough. */
const LARGE_MAX = 131072;
const ATA_CYLINDERS_MAX = 65535;
const ATA_SECTORS_MAX = 255;
const SECTOR = 512;
/** The partition table: four entries of 16 bytes, and the mark behind them. */
const TABLE = 446;
const ENTRIES = 4;
const ENTRY = 16;
const MARK = 510;

/** The geometry of an IDE disk of `bytes` bytes. `first` reads its first sector. Throws QtestError. */
export function geometryOf(options: Options, bytes: number, first: () => Uint8Array): Geometry {
  const setting = options.get('bios-chs-trans') ?? 'auto';
  const wanted = TRANSLATIONS.indexOf(setting);
  if (wanted < 0 && setting !== 'auto')
    throw new QtestError(`bios-chs-trans is "${setting}"; there are auto, ${TRANSLATIONS.join(', ')}`);
  const found = given(options) ?? guess(Math.floor(bytes / SECTOR), first);
  return wanted < 0 ? found : { ...found, translation: wanted };
}

function given(options: Options): Geometry | null {
  const keys = ['cyls', 'heads', 'secs'] as const;
  if (!keys.some((key) => options.has(key) && options.get(key) !== '0')) return null;
  const [cylinders, heads, sectors] = [
    toNumber(options.get('cyls') ?? '0', 'cyls', 1, ATA_CYLINDERS_MAX),
    toNumber(options.get('heads') ?? '0', 'heads', 1, HEADS),
    toNumber(options.get('secs') ?? '0', 'secs', 1, ATA_SECTORS_MAX),
  ];
  const fits = cylinders <= INT13_CYLINDERS && sectors <= SECTORS;
  return { cylinders, heads, sectors, translation: fits ? 0 : 1 };
}

function guess(total: number, first: () => Uint8Array): Geometry {
  const cylinders = Math.min(Math.max(Math.floor(total / (HEADS * SECTORS)), 2), CYLINDERS_MAX);
  const own = { cylinders, heads: HEADS, sectors: SECTORS };
  const logical = partitioned(total, first());
  if (logical === null) return { ...own, translation: cylinders <= INT13_CYLINDERS ? 0 : 1 };
  // More heads than a disk can have: the table was made behind a translation.
  if (logical.heads > HEADS)
    return { ...own, translation: logical.cylinders * logical.heads <= LARGE_MAX ? 2 : 1 };
  return { ...logical, translation: 0 };
}

/** The geometry that the first partition's end tells, null: there is none. */
function partitioned(total: number, sector: Uint8Array): Omit<Geometry, 'translation'> | null {
  if (sector[MARK] !== 0x55 || sector[MARK + 1] !== 0xaa) return null;
  const view = new DataView(sector.buffer, sector.byteOffset, sector.length);
  for (let i = 0; i < ENTRIES; i++) {
    const at = TABLE + i * ENTRY;
    const endHead = view.getUint8(at + 5);
    const sectors = view.getUint8(at + 6) & 0x3f;
    if (view.getUint32(at + 12, true) === 0 || endHead === 0 || sectors === 0) continue;
    const heads = endHead + 1;
    const cylinders = Math.floor(total / (heads * sectors));
    if (cylinders >= 1 && cylinders <= CYLINDERS_MAX) return { cylinders, heads, sectors };
  }
  return null;
}
