// The firmware configuration device: a list of items that firmware selects by number and reads byte by byte. Clients
// ask it for the size of RAM. Specification: the fw_cfg interface, its keys and its directory of files.

const PORT_SELECT = 0x510;
const PORT_DATA = 0x511;

/** Item numbers (the fw_cfg interface specification). */
const ITEM_SIGNATURE = 0x00;
const ITEM_FEATURES = 0x01;
const ITEM_UUID = 0x02;
const ITEM_RAM_BYTES = 0x03;
const ITEM_CPUS = 0x05;
const ITEM_BOOT_MENU = 0x0e;
const ITEM_CPUS_MAX = 0x0f;
const ITEM_FILES = 0x19;
/** Files have the numbers from here on. An entry of their list: bytes, number, two unused bytes, a name. */
const ITEM_FIRST_FILE = 0x20;
const FILE_ENTRY = 64;
const FILE_NAME = 8;

export interface FwCfgState {
  readonly item: number;
  readonly offset: number;
}

/** A number of an item or file, of `bytes` bytes. */
export function number(bytes: number, value: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** i) % 256);
}

export class FwCfg {
  readonly #items: Map<number, Uint8Array>;
  #item = 0;
  #offset = 0;

  constructor(ramBytes: number, uuid: Uint8Array, menu: boolean) {
    this.#items = new Map([
      [ITEM_SIGNATURE, new TextEncoder().encode('QEMU')],
      [ITEM_FEATURES, number(4, 1)],
      [ITEM_UUID, uuid],
      [ITEM_RAM_BYTES, number(8, ramBytes)],
      [ITEM_CPUS, number(2, 1)],
      [ITEM_BOOT_MENU, number(2, menu ? 1 : 0)],
      [ITEM_CPUS_MAX, number(2, 1)],
    ]);
    this.setFiles(new Map());
  }

  /** The files by name, in place of those before. */
  setFiles(files: ReadonlyMap<string, Uint8Array>): void {
    const names = [...files.keys()].sort();
    const list = new Uint8Array(4 + names.length * FILE_ENTRY);
    const view = new DataView(list.buffer);
    view.setUint32(0, names.length);
    for (const [i, name] of names.entries()) {
      const bytes = files.get(name) as Uint8Array;
      const at = 4 + i * FILE_ENTRY;
      view.setUint32(at, bytes.length);
      view.setUint16(at + 4, ITEM_FIRST_FILE + i);
      list.set(new TextEncoder().encode(name), at + FILE_NAME);
      this.#items.set(ITEM_FIRST_FILE + i, bytes);
    }
    this.#items.set(ITEM_FILES, list);
  }

  /** Whether the port is one of the device's two. */
  static decodes(port: number): boolean {
    return port === PORT_SELECT || port === PORT_DATA;
  }

  /** A read of one byte. Behind an item's end, and of an item that is not there, it is 0. */
  read(port: number): number {
    if (port !== PORT_DATA) return 0;
    return this.#items.get(this.#item)?.[this.#offset++] ?? 0;
  }

  /** Selects an item: a write of two bytes to the first port. What else is written changes nothing. */
  write(port: number, size: number, value: number): void {
    if (port !== PORT_SELECT || size !== 2) return;
    this.#item = value;
    this.#offset = 0;
  }

  reset(): void {
    this.state = { item: 0, offset: 0 };
  }

  get state(): FwCfgState {
    return { item: this.#item, offset: this.#offset };
  }

  set state({ item, offset }: FwCfgState) {
    this.#item = item;
    this.#offset = offset;
  }
}
