// Commands of QMP about disks, their images and trays.

import type { Drive } from '../../machine/index.ts';
import type { BlockDrive } from '../block/graph.ts';
import { type BlockNode, DISC_BLOCK } from '../block/node.ts';
import { QtestError } from '../errors.ts';
import { flattenOptions } from '../options.ts';
import type { System } from '../system.ts';
import { type Arguments, type Command, flag, type Json, optional, text, whole } from './command.ts';

const BY_NAME = { '*device': 'str', '*id': 'str' } as const;
const FORMAT_NAMES: Readonly<Record<string, string>> = { vhd: 'vpc' };

const NODE_SHAPE = {
  file: 'str',
  '*node-name': 'str',
  ro: 'bool',
  drv: 'str',
  backing_file_depth: 'int',
  encrypted: 'bool',
  detect_zeroes: 'str',
  bps: 'int',
  bps_rd: 'int',
  bps_wr: 'int',
  iops: 'int',
  iops_rd: 'int',
  iops_wr: 'int',
  image: { filename: 'str', format: 'str', 'virtual-size': 'int' },
  cache: { writeback: 'bool', direct: 'bool', 'no-flush': 'bool' },
  write_threshold: 'int',
} as const;
const BLOCK_SHAPE = {
  device: 'str',
  '*qdev': 'str',
  type: 'str',
  removable: 'bool',
  locked: 'bool',
  '*tray_open': 'bool',
  '*inserted': NODE_SHAPE,
  '*io-status': 'str',
} as const;

export const BLOCK_COMMANDS: Readonly<Record<string, Command>> = {
  block_resize: {
    arguments: { '*device': 'str', '*node-name': 'str', size: 'int' },
    run: ({ system }, args) => {
      const size = whole(args, 'size');
      if (size < 0) throw new QtestError("Parameter 'size' expects a >0 size");
      const drive = system.graph.find(optional(args, 'device') ?? optional(args, 'node-name') ?? '');
      resizeDrive(drive, size);
      system.settle();
    },
  },
  'blockdev-add': {
    arguments: { driver: 'str', 'node-name': 'str', '*': 'any' },
    run: async ({ system }, args) => {
      await system.graph.addNode(flattenOptions(args, 'blockdev-add'));
    },
  },
  'blockdev-del': {
    arguments: { 'node-name': 'str' },
    run: ({ system }, args) => {
      system.graph.removeNode(text(args, 'node-name'));
    },
  },
  eject: {
    arguments: { ...BY_NAME, '*force': 'bool' },
    run: ({ system }, args) => {
      const { drive, optical } = opticalOf(system, args);
      openTray(optical, nameOf(args), flag(args, 'force'));
      system.settle();
      removeMedium(drive, optical);
    },
  },
  'blockdev-open-tray': {
    arguments: { ...BY_NAME, '*force': 'bool' },
    run: ({ system }, args) => {
      openTray(opticalOf(system, args).optical, nameOf(args), flag(args, 'force'));
      system.settle();
    },
  },
  'blockdev-close-tray': {
    arguments: BY_NAME,
    run: ({ system }, args) => {
      opticalOf(system, args).optical.closeTray();
      system.settle();
    },
  },
  'blockdev-remove-medium': {
    arguments: { id: 'str' },
    run: ({ system }, args) => {
      const { drive, optical } = opticalOf(system, args);
      if (!optical.tray.open) throw new QtestError(`Tray of device '${nameOf(args)}' is not open`);
      removeMedium(drive, optical);
    },
  },
  'blockdev-insert-medium': {
    arguments: { id: 'str', 'node-name': 'str' },
    run: ({ system }, args) => {
      const { drive, optical } = opticalOf(system, args);
      const name = text(args, 'node-name');
      const node = system.graph.nodes.get(name);
      if (node === undefined) throw new QtestError(`Node '${name}' not found`);
      if (!optical.tray.open) throw new QtestError(`Tray of device '${nameOf(args)}' is not open`);
      if (drive.node !== null) throw new QtestError(`There already is a medium in device '${nameOf(args)}'`);
      insert(drive, optical, node, name);
    },
  },
  'blockdev-change-medium': {
    arguments: {
      ...BY_NAME,
      filename: 'str',
      '*format': 'str',
      '*force': 'bool',
      '*read-only-mode': 'str',
    },
    run: ({ system }, args) => changeMedium(system, args),
  },
  'query-block': {
    returns: [BLOCK_SHAPE],
    run: ({ system }) =>
      system.graph.drives.filter(({ device, id }) => device !== null || id !== '').map(blockInfo),
  },
  'query-named-block-nodes': {
    arguments: { '*flat': 'bool' },
    returns: [NODE_SHAPE],
    run: ({ system }) => [...system.graph.nodes].map(([name, node]) => nodeInfo(node, name)),
  },
};

function nameOf(args: Arguments): string {
  const name = optional(args, 'id') ?? optional(args, 'device');
  if (name === undefined) throw new QtestError("Need exactly one of 'device' and 'id'");
  return name;
}

function opticalOf(system: System, args: Arguments): { readonly drive: BlockDrive; readonly optical: Drive } {
  return system.graph.findOptical(nameOf(args));
}

/** Gives a drive's image, and the disk over it, another size. Throws QtestError, MachineError or MediumError. */
export function resizeDrive(drive: BlockDrive, bytes: number): void {
  const { node, disk } = drive;
  if (node === null) throw new QtestError(`Device '${drive.id}' has no medium`);
  if (drive.isCdrom) throw new QtestError(`Device '${drive.id}' is read-only`);
  if (disk !== null) disk.resize(bytes);
  else if (bytes < node.bytes) node.shrink(bytes);
  else node.grow(bytes);
}

/** Throws QtestError where the guest has locked the tray, and is now asked to open it. */
export function openTray(optical: Drive, name: string, force: boolean): void {
  if (optical.openTray(force)) return;
  throw new QtestError(
    `Device '${name}' is locked and force was not specified, wait for tray to open and try again`,
  );
}

/** Takes what is in a drive away; a file that no node names is closed. */
export function removeMedium(drive: BlockDrive, optical: Drive): void {
  optical.remove();
  if (drive.nodeName === null) drive.node?.close();
  drive.node = null;
  drive.nodeName = null;
}

function insert(drive: BlockDrive, optical: Drive, node: BlockNode, name: string | null): void {
  node.cutTo(DISC_BLOCK);
  optical.load({ medium: node });
  drive.node = node;
  drive.nodeName = name;
}

const READ_ONLY_MODES = ['retain', 'read-only', 'read-write'];

async function changeMedium(system: System, args: Arguments): Promise<void> {
  const { drive, optical } = opticalOf(system, args);
  const mode = optional(args, 'read-only-mode') ?? 'retain';
  if (!READ_ONLY_MODES.includes(mode))
    throw new QtestError(
      `Invalid parameter '${mode}': read-only-mode is one of ${READ_ONLY_MODES.join(', ')}`,
    );
  const node = await system.graph.openFile(text(args, 'filename'), optional(args, 'format'), true);
  try {
    openTray(optical, nameOf(args), flag(args, 'force'));
  } catch (error) {
    node.close();
    throw error;
  }
  system.settle();
  removeMedium(drive, optical);
  insert(drive, optical, node, null);
  optical.closeTray();
  system.settle();
}

function blockInfo(drive: BlockDrive): Json {
  const { node, disk, id, path } = drive;
  const tray = disk !== null && 'tray' in disk ? (disk as Drive).tray : null;
  return {
    device: id,
    ...(path === null ? {} : { qdev: path }),
    type: 'unknown',
    removable: drive.isCdrom,
    locked: tray?.locked ?? false,
    ...(tray === null ? {} : { tray_open: tray.open }),
    ...(node === null ? {} : { inserted: nodeInfo(node, drive.nodeName) }),
    ...(disk === null ? {} : { 'io-status': 'ok' }),
  };
}

function nodeInfo(node: BlockNode, name: string | null): Json {
  const { spec } = node;
  const format =
    spec.nullBytes !== null ? 'null-co' : (FORMAT_NAMES[spec.format ?? ''] ?? spec.format ?? 'raw');
  return {
    file: spec.filename,
    ...(name === null ? {} : { 'node-name': name }),
    ro: node.readOnly,
    drv: format,
    backing_file_depth: 0,
    encrypted: false,
    detect_zeroes: 'off',
    bps: 0,
    bps_rd: 0,
    bps_wr: 0,
    iops: 0,
    iops_rd: 0,
    iops_wr: 0,
    image: { filename: spec.filename, format, 'virtual-size': node.bytes },
    cache: { writeback: true, direct: false, 'no-flush': false },
    write_threshold: 0,
  };
}
