// The hardware's WASM module: finding it, compiling it, and the types of what goes in and out.
// assembly/index.ts has the exports, assembly/host.ts the imports.

import { nodeModule } from '../media/node.ts';

export type Flavour = 'release' | 'debug';

export interface HardwareExports {
  init(bytes: number): number;
  reserve(bytes: number, align: number): number;
  addRam(low: number, high: number, bytes: number): number;
  addExternal(low: number, high: number, bytes: number): number;
  createController(kind: number, line: number): number;
  resetController(device: number, kind: number): void;
  createDisk(kind: number, sectorsLow: number, sectorsHigh: number, sectorShift: number): number;
  resizeDisk(disk: number, sectorsLow: number, sectorsHigh: number): number;
  createDrive(): number;
  changeMedium(disk: number, kind: number, sectorsLow: number, sectorsHigh: number): number;
  settleDrive(disk: number): void;
  moveTray(disk: number, how: number): number;
  retryRequests(): void;
  releaseRequests(disk: number, tag: number): void;
  attachDisk(device: number, place: number, unit: number, disk: number): number;
  barRead(device: number, bar: number, at: number, size: number): number;
  barWrite(device: number, bar: number, at: number, size: number, value: number): void;
  pciRead(device: number, at: number, size: number): number;
  pciWrite(device: number, at: number, size: number, value: number): void;
  now(): number;
  run(until: number, budget: number): number;
  takeMessage(): number;
  mediaReady(request: number): void;
  mediaFail(request: number, status: number, failedAt: number): void;
  enableGuard(flags: number, mappings: number): number;
  guardMap(
    device: number,
    low: number,
    high: number,
    bytes: number,
    direction: number,
    handle: number,
  ): number;
  guardUnmap(slot: number): number;
  guardHasWritten(slot: number): number;
  guardStale(slot: number, from: number, to: number): void;
  guardWritten(index: number, bytes: number, written: number): void;
  guardCopied(to: number, from: number, bytes: number): void;
  blockBytes(block: number): number;
  nextNonZero(from: number, to: number): number;
  resetRequests(from: number, to: number): void;
}

/** What the module asks of the host: RAM that is not in its own memory. See assembly/host.ts. */
export interface MemoryImports {
  memoryRead(low: number, high: number, to: number, bytes: number): void;
  memoryWrite(low: number, high: number, from: number, bytes: number): void;
  memoryMove(first: number, runs: number, at: number, toMemory: number): void;
}

/** And media that are not. */
export interface MediaImports {
  mediaStart(
    disk: number,
    request: number,
    operation: number,
    sectorLow: number,
    sectorHigh: number,
    sectors: number,
  ): number;
  mediaTransfer(
    disk: number,
    request: number,
    offsetLow: number,
    offsetHigh: number,
    bytes: number,
    runs: number,
    toMemory: number,
  ): number;
  mediaFinish(disk: number, request: number): number;
  mediaDrop(disk: number, request: number): void;
}

const FILES: Readonly<Record<Flavour, string>> = {
  release: 'backplane.wasm',
  debug: 'backplane.debug.wasm',
};

/** By a name: bundlers take `new URL(…, import.meta.url)` for a file of theirs, and warn where it is not one. */
const HERE = import.meta.url;

/**
 * Compiles the hardware module. It is looked for beside this code; `url` names another place. The result may
 * be kept and used for any number of machines, in workers too.
 */
export async function loadModule(
  flavour: Flavour = 'release',
  url: URL = new URL(FILES[flavour], HERE),
): Promise<WebAssembly.Module> {
  if (url.protocol === 'file:') {
    const { readFile } = await nodeModule('node:fs/promises');
    return WebAssembly.compile(await readFile(url));
  }
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.href}: ${response.status} ${response.statusText}`);
  return WebAssembly.compile(await response.arrayBuffer());
}

/** Puts the module on a memory. Never twice on one memory: the data segments would be written again. */
export function instantiate(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  host: MediaImports & MemoryImports,
): HardwareExports {
  const abort = (_message: number, _file: number, line: number, column: number): never => {
    throw new Error(`assertion failed in the hardware model at line ${line}, column ${column}`);
  };
  const instance = new WebAssembly.Instance(module, {
    env: { memory, abort },
    host: host as unknown as Record<string, WebAssembly.ImportValue>,
  });
  return instance.exports as unknown as HardwareExports;
}
