// The server's disks by name: drives as -drive and -device make them, and nodes as -blockdev does.

import { type Disk, Drive, type ErrorPolicy } from '../../machine/index.ts';
import { MediumError } from '../../media/index.ts';
import { QtestError } from '../errors.ts';
import { type Options, toNumber, toSwitch } from '../options.ts';
import { BlockNode, checkBytes } from './node.ts';
import { checkKeys, type NodeSpec, type ReadText, specOf } from './spec.ts';

/** Where a drive goes by itself; `none`: where a device asks for it. */
export type DriveInterface = 'none' | 'ide' | 'virtio';

/** A place for a medium, with what clients call it. */
export class BlockDrive {
  /** Empty where only a node's name is known. */
  readonly id: string;
  /** A device that is a CD-ROM drive makes it one. */
  isCdrom: boolean;
  readonly interface: DriveInterface;
  /** Which drive of its interface it is; null: the next. */
  readonly index: number | null;
  readonly readPolicy: ErrorPolicy;
  readonly writePolicy: ErrorPolicy;
  /** What is in it. */
  node: BlockNode | null;
  nodeName: string | null = null;
  /** The machine's disk, once a device has it; `device` is that device's id or path. */
  disk: Disk | null = null;
  device: string | null = null;
  /** That of the device: `/machine/peripheral/cd0`. */
  path: string | null = null;
  /** Names under which requests are held back, by their numbers. */
  readonly #tags: string[] = [];

  constructor(
    shape: Pick<BlockDrive, 'id' | 'isCdrom' | 'interface' | 'index' | 'readPolicy' | 'writePolicy' | 'node'>,
  ) {
    this.id = shape.id;
    this.isCdrom = shape.isCdrom;
    this.interface = shape.interface;
    this.index = shape.index;
    this.readPolicy = shape.readPolicy;
    this.writePolicy = shape.writePolicy;
    this.node = shape.node;
  }

  /** The number that stands for `tag`; `make`: it gets one. Throws QtestError where it has none. */
  tagNumber(tag: string, make: boolean): number {
    const known = this.#tags.indexOf(tag);
    if (known >= 0) return known;
    if (!make) throw new QtestError(`Could not resume request: nothing is held under '${tag}'`);
    return this.#tags.push(tag) - 1;
  }
}

/** Options of -drive that the place has, and not the image. */
const PLACE_KEYS = [
  'if', 'id', 'index', 'bus', 'unit', 'media', 'snapshot', 'readonly', 'rerror', 'werror', 'copy-on-read', 'serial',
] as const; // biome-ignore format: a list

export class BlockGraph {
  readonly drives: BlockDrive[] = [];
  readonly nodes = new Map<string, BlockNode>();
  readonly #readText: ReadText;
  readonly #snapshot: boolean;
  /** Units of a bus of IDE: 2, or 1 on AHCI. */
  readonly #ideUnits: number;

  constructor(options: {
    readonly readText: ReadText;
    readonly snapshot: boolean;
    readonly ideUnits: number;
  }) {
    this.#readText = options.readText;
    this.#snapshot = options.snapshot;
    this.#ideUnits = options.ideUnits;
  }

  /** Adds what -blockdev and blockdev-add describe. Throws QtestError or MediumError. */
  async addNode(options: Options): Promise<void> {
    const name = options.get('node-name');
    if (name === undefined) throw new QtestError('blockdev: node-name is missing');
    this.#checkFree(name);
    const spec = await this.#specOf(options, `blockdev ${name}`, this.#snapshot, true);
    this.nodes.set(name, await openChecked(spec));
  }

  /** Takes a node away; throws QtestError while a drive has it. */
  removeNode(name: string): void {
    const node = this.nodes.get(name);
    if (node === undefined) throw new QtestError(`Failed to find node with node-name='${name}'`);
    if (this.drives.some((drive) => drive.node === node && drive.device !== null))
      throw new QtestError(`Node ${name} is in use`);
    this.nodes.delete(name);
    node.close();
  }

  /** Adds what -drive describes. Throws QtestError or MediumError. */
  async addDrive(options: Options): Promise<BlockDrive> {
    const wanted = options.get('if') ?? 'ide';
    if (wanted !== 'none' && wanted !== 'ide' && wanted !== 'virtio')
      throw new QtestError(`-drive: if is "${wanted}"; there are none, ide and virtio`);
    const media = options.get('media') ?? 'disk';
    if (media !== 'disk' && media !== 'cdrom')
      throw new QtestError(`-drive: media is "${media}"; there are disk and cdrom`);
    const isCdrom = media === 'cdrom';
    const index = wanted === 'ide' ? (this.#indexOf(options) ?? this.#nextIndex()) : null;
    const id = options.get('id') ?? this.#nameFor(wanted, index, isCdrom);
    const what = `-drive ${id}`;
    this.#checkFree(id);
    const flag = (key: string): boolean => toSwitch(options.get(key) ?? 'off', `${what}: ${key}`);
    const node = await this.#openFor(
      options,
      what,
      flag('readonly') || isCdrom,
      flag('snapshot') || this.#snapshot,
    );
    const drive = new BlockDrive({
      id,
      isCdrom,
      interface: wanted,
      index,
      readPolicy: policyOf(options.get('rerror') ?? 'auto', `${what}: rerror`),
      writePolicy: policyOf(options.get('werror') ?? 'auto', `${what}: werror`),
      node,
    });
    this.drives.push(drive);
    return drive;
  }

  /** The drive that `drive=name` of a device means: a drive, or a node. Throws QtestError: there is none, or it is taken. */
  take(name: string, isCdrom: boolean): BlockDrive {
    const found = this.drives.find((drive) => drive.id === name);
    if (found !== undefined) {
      if (found.device !== null) throw new QtestError(`Drive '${name}' is already in use by ${found.device}`);
      return found;
    }
    const node = this.nodes.get(name);
    if (node === undefined)
      throw new QtestError(
        `Property 'drive' can't find value '${name}'; give it by -drive id=${name},if=none,file=… or -blockdev`,
      );
    const drives = this.drives.filter((drive) => drive.node === node);
    if (drives.some(({ device }) => device !== null))
      throw new QtestError(`Node '${name}' is already in use`);
    const drive = drives.find((other) => other.isCdrom === isCdrom) ?? this.empty(isCdrom);
    drive.node = node;
    drive.nodeName = name;
    return drive;
  }

  /** A drive without a name and a medium. */
  empty(isCdrom: boolean): BlockDrive {
    const drive = new BlockDrive({
      id: '',
      isCdrom,
      interface: 'none',
      index: null,
      readPolicy: 'report',
      writePolicy: 'no-space',
      node: null,
    });
    this.drives.push(drive);
    return drive;
  }

  /** A device has let the drive go: one that -drive made goes with it, a node stays for the next. */
  release(drive: BlockDrive): void {
    drive.device = null;
    if (drive.nodeName === null) this.remove(drive);
  }

  /** Takes a drive away that no device has, and closes its image. Throws QtestError where one has it. */
  remove(drive: BlockDrive): void {
    if (drive.device !== null) throw new QtestError(`Drive '${drive.id}' is in use by ${drive.device}`);
    this.drives.splice(this.drives.indexOf(drive), 1);
    if (drive.nodeName === null) drive.node?.close();
  }

  /** The drive that a client means by its own name, that of its node, or that of its device. Throws QtestError. */
  find(name: string): BlockDrive {
    const found = this.drives.find(({ id, nodeName, device }) => [id, nodeName, device].includes(name));
    if (found === undefined || name === '')
      throw new QtestError(`Device '${name}' not found`, 'DeviceNotFound');
    return found;
  }

  /** The optical drive that `name` means. Throws QtestError. */
  findOptical(name: string): { readonly drive: BlockDrive; readonly optical: Drive } {
    const drive = this.find(name);
    if (!(drive.disk instanceof Drive)) throw new QtestError(`Device '${name}' is not removable`);
    return { drive, optical: drive.disk };
  }

  /** Opens a file for a drive, in place of what was in it. Throws MediumError. */
  async openFile(filename: string, format: string | undefined, readOnly: boolean): Promise<BlockNode> {
    const options = new Map([['file', filename]]);
    if (format !== undefined) options.set('format', format);
    if (readOnly) options.set('read-only', 'on');
    return openChecked(await this.#specOf(options, filename, this.#snapshot, false));
  }

  /** Every image that is open. */
  openNodes(): Set<BlockNode> {
    return new Set([
      ...this.nodes.values(),
      ...this.drives.flatMap(({ node }) => (node === null ? [] : [node])),
    ]);
  }

  /** Another process has the images from now on. */
  giveAway(): void {
    for (const node of this.openNodes()) node.giveAway();
  }

  async takeBack(): Promise<void> {
    for (const node of this.openNodes()) await node.takeBack();
  }

  /** Closes every image. Throws MediumError where one cannot be written. */
  close(): void {
    for (const node of this.openNodes()) node.close();
  }

  async #openFor(
    options: Options,
    what: string,
    readOnly: boolean,
    snapshot: boolean,
  ): Promise<BlockNode | null> {
    const image = new Map([...options].filter(([key]) => !PLACE_KEYS.some((name) => name === key)));
    const names = [...image.keys()].some((key) => /^(file|driver|filename)(\.|$)/.test(key));
    if (!names) {
      checkKeys(image, what);
      return null;
    }
    if (readOnly) image.set('read-only', 'on');
    return openChecked(await this.#specOf(image, what, snapshot, false));
  }

  #specOf(options: Options, what: string, snapshot: boolean, byName: boolean): Promise<NodeSpec> {
    return specOf(options, what, {
      snapshot,
      readText: this.#readText,
      lookUp: (name) => (byName ? this.nodes.get(name)?.spec : undefined),
    });
  }

  #checkFree(name: string): void {
    if (this.nodes.has(name) || this.drives.some(({ id }) => id === name))
      throw new QtestError(`Duplicate: there is a drive or a node named '${name}' already`);
  }

  #indexOf(options: Options): number | null {
    const number = (key: string): number | null => {
      const value = options.get(key);
      return value === undefined ? null : toNumber(value, `-drive: ${key}`, 0, 31);
    };
    const [index, bus, unit] = [number('index'), number('bus'), number('unit')];
    if (index !== null && (bus !== null || unit !== null))
      throw new QtestError('-drive: index cannot be used with bus and unit');
    if (index !== null) return index;
    return bus === null && unit === null ? null : (bus ?? 0) * this.#ideUnits + (unit ?? 0);
  }

  #nextIndex(): number {
    for (let index = 0; ; index++)
      if (!this.drives.some((drive) => drive.interface === 'ide' && drive.index === index)) return index;
  }

  /** `ide0-hd1`: how emulators call a drive without a name. */
  #nameFor(wanted: DriveInterface, index: number | null, isCdrom: boolean): string {
    const kind = isCdrom ? 'cd' : 'hd';
    if (index !== null)
      return `${wanted}${Math.floor(index / this.#ideUnits)}-${kind}${index % this.#ideUnits}`;
    const count = this.drives.filter((drive) => drive.interface === wanted).length;
    return wanted === 'none' ? `none${count}` : `${wanted}${count}`;
  }
}

async function openChecked(spec: NodeSpec): Promise<BlockNode> {
  try {
    const node = await BlockNode.open(spec);
    checkBytes(node);
    return node;
  } catch (error) {
    if (error instanceof MediumError && error.reason === 'missing')
      throw new QtestError(`Could not open '${spec.filename}': No such file or directory`);
    throw error;
  }
}

/** What `rerror` and `werror` say. Throws QtestError. */
export function policyOf(value: string, what: string): ErrorPolicy {
  if (value === 'auto') return what.endsWith('rerror') ? 'report' : 'no-space';
  if (value === 'enospc') return 'no-space';
  if (value === 'report' || value === 'stop') return value;
  throw new QtestError(`${what} is "${value}"; there are report, stop, enospc and auto`);
}
