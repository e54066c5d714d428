// What firmware is told of the machine: settings in the clock's RAM, and the files of the configuration device with the
// order of booting and geometries. Sources: R. Brown's list of CMOS memory; the Open Firmware names that SeaBIOS reads.

import { PCI_CLASS, PCI_DEVICE, PCI_VENDOR } from '../../assembly/bus/pci-regs.ts';
import type { Controller } from '../machine/index.ts';
import type { Board } from './board.ts';
import type { BootOptions } from './command-line.ts';
import type { Device, DeviceTree } from './device-tree.ts';
import { QtestError } from './errors.ts';
import { number } from './fw-cfg.ts';
import { geometryOf } from './geometry.ts';
import { toNumber } from './options.ts';
import type { Rtc } from './rtc.ts';

const KIB = 1024;
const MIB = 2 ** 20;
const BASE_KIB = 640;
const WORD_MAX = 0xffff;

/** Cells of the clock's RAM. */
const DISK_TYPES = 0x12;
const EQUIPMENT = 0x14;
const BASE_MEMORY = 0x15;
const EXTENDED_MEMORY = [0x17, 0x30] as const;
/** Types and tables of the first two disks. */
const DISK_TYPE = [0x19, 0x1a] as const;
const DISK_TABLE = [0x1b, 0x24] as const;
const MEMORY_ABOVE_16M = 0x34;
const BOOT_THIRD = 0x38;
const TRANSLATION = 0x39;
const BOOT_FIRST = 0x3d;
const MEMORY_ABOVE_4G = 0x5b;

/** A coprocessor and a pointing device. */
const EQUIPMENT_SET = 0x06;
/** The type of a disk that has a table. */
const TYPE_WITH_TABLE = 47;
const DRIVES = 4;
/** Flags of a disk in its table: retries off; more than eight heads. */
const TABLE_FLAGS = 0xc0;
const MANY_HEADS = 8;

/** What a BIOS calls the devices that -boot does by letters. */
const BOOT_CODES: Readonly<Record<string, number>> = { a: 1, b: 1, c: 2, d: 3, n: 4 };
const BOOTS_MAX = 3;

/** Writes the settings of a machine whose RAM has `low` bytes below and `high` above 4 GiB. Throws QtestError. */
export function writeSettings(rtc: Rtc, tree: DeviceTree, low: number, high: number): void {
  const word = (at: number, value: number): void => {
    rtc.set(at, value & 0xff);
    rtc.set(at + 1, (value >> 8) & 0xff);
  };
  word(BASE_MEMORY, BASE_KIB);
  for (const at of EXTENDED_MEMORY) word(at, Math.max(0, Math.min(Math.floor((low - MIB) / KIB), WORD_MAX)));
  word(MEMORY_ABOVE_16M, Math.max(0, Math.min(Math.floor((low - 16 * MIB) / (64 * KIB)), WORD_MAX)));
  word(MEMORY_ABOVE_4G, (high / (64 * KIB)) & WORD_MAX);
  rtc.set(MEMORY_ABOVE_4G + 2, Math.floor(high / 2 ** 32));
  rtc.set(EQUIPMENT, EQUIPMENT_SET);
  writeDisks(rtc, tree);
}

/** Disks of the chipset's own controller: types and tables of the first two, translations of four. */
function writeDisks(rtc: Rtc, tree: DeviceTree): void {
  const own = tree.buses.find(({ kind }) => kind === 'IDE')?.controller;
  let [types, translations] = [0, 0];
  for (const { type, bus, at, drive, options } of tree.devices) {
    const number = at[0] * 2 + at[1];
    const node = drive?.node ?? null;
    if (type.name !== 'ide-hd' || bus.controller !== own || number >= DRIVES || node === null) continue;
    const found = geometryOf(options, node.bytes, () => node.peek(512));
    translations |= found.translation << (2 * number);
    const [cell, table] = [DISK_TYPE[number], DISK_TABLE[number]];
    if (cell === undefined || table === undefined) continue;
    types |= number === 0 ? 0xf0 : 0x0f;
    rtc.set(cell, TYPE_WITH_TABLE);
    const { cylinders, heads, sectors } = found;
    const cylinder = [cylinders & 0xff, cylinders >> 8];
    // Cylinders, heads, no precompensation, flags, where heads land, sectors.
    const flags = TABLE_FLAGS | (heads > MANY_HEADS ? 8 : 0);
    const bytes = [...cylinder, heads, 0xff, 0xff, flags, ...cylinder, sectors];
    for (const [i, byte] of bytes.entries()) rtc.set(table + i, byte);
  }
  rtc.set(DISK_TYPES, types);
  rtc.set(TRANSLATION, translations);
}

/** Writes the order of booting: letters a to d and n, three at most. Throws QtestError. */
export function writeBootOrder(rtc: Rtc, order: string, boot: BootOptions): void {
  const codes = [...order].map((letter) => BOOT_CODES[letter]);
  const wrong = [...order].find((_, i) => codes[i] === undefined);
  if (wrong !== undefined || codes.length > BOOTS_MAX)
    throw new QtestError(
      `-boot: "${order}": up to ${BOOTS_MAX} letters are possible, of ${Object.keys(BOOT_CODES).join(', ')}`,
    );
  const [first = 0, second = 0, third = 0] = codes;
  rtc.set(BOOT_FIRST, (second << 4) | first);
  rtc.set(BOOT_THIRD, (third << 4) | (boot.floppySignature ? 0 : 1));
}

/** Files of the configuration device. Throws QtestError for an index that two devices have. */
export function firmwareFiles(board: Board, tree: DeviceTree, boot: BootOptions): Map<string, Uint8Array> {
  const order = new Map<number, string>();
  const geometries: string[] = [];
  for (const device of tree.devices) {
    const { options } = device;
    const path = (): string => firmwarePath(device, board, tree);
    const index = options.get('bootindex');
    if (index !== undefined && index !== '-1') {
      const at = toNumber(index, `${device.type.name}: bootindex`, 0, 2 ** 31 - 1);
      if (order.has(at)) throw new QtestError(`The bootindex ${at} has already been used`);
      order.set(at, path());
    }
    const logical = ['lcyls', 'lheads', 'lsecs'].map((key) =>
      toNumber(options.get(key) ?? '0', `${device.type.name}: ${key}`, 0, 2 ** 32 - 1),
    );
    if (logical.some((number) => number > 0)) geometries.push(`${path()} ${logical.join(' ')}`);
  }
  const files = new Map([
    ['bios-geometry', lines(geometries)],
    ['bootorder', lines([...order].sort(([a], [b]) => a - b).map(([, path]) => path))],
    ['etc/boot-fail-wait', number(4, boot.failWaitMs)],
  ]);
  if (boot.menuWaitMs !== null) files.set('etc/boot-menu-wait', number(2, boot.menuWaitMs));
  return files;
}

function lines(texts: readonly string[]): Uint8Array {
  return new TextEncoder().encode(texts.length === 0 ? '' : `${texts.join('\n')}\0`);
}

/** `/pci@i0cf8/ide@1,1/drive@0/disk@1`: the device as Open Firmware names it. */
function firmwarePath(device: Device, board: Board, tree: DeviceTree): string {
  const { type, at, bus } = device;
  if (device.controller !== null) {
    const disk = { nvme: '/namespace@1,0' }[type.name] ?? '/disk@0,0';
    return `${pciPath(device.controller, device.devfn, board)}${type.hasDisk === true ? disk : ''}`;
  }
  const owner = tree.devices.find(({ controller }) => controller === bus.controller);
  const base =
    owner === undefined || bus.controller === null ? '' : pciPath(bus.controller, owner.devfn, board);
  const [place, unit] = at;
  return type.bus === 'SCSI'
    ? `${base}/channel@0/disk@${place},${unit}`
    : `${base}/drive@${place}/disk@${unit}`;
}

/** Names by base class and subclass (PCI Bus Binding to IEEE 1275, 2.5). */
const CLASS_NAMES: Readonly<Record<number, string>> = { 256: 'scsi', 257: 'ide' };

function pciPath(controller: Controller, devfn: number, board: Board): string {
  const hex = (value: number): string => value.toString(16);
  const id = (at: number): string => hex(controller.configRead(at, 2)).padStart(4, '0');
  const name =
    CLASS_NAMES[controller.configRead(PCI_CLASS + 1, 2)] ?? `pci${id(PCI_VENDOR)},${id(PCI_DEVICE)}`;
  const at = (place: number): string =>
    `@${hex((place >> 3) & 31)}${(place & 7) === 0 ? '' : `,${place & 7}`}`;
  const bridges = board.bridgesTo(devfn).reverse();
  return `/pci@i0cf8${bridges.map((place) => `/pci-bridge${at(place)}`).join('')}/${name}${at(devfn)}`;
}
