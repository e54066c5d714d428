// Runs a scenario: for each part a fresh machine, a kernel on it, a process that writes its input to the disk,
// reads it back into other pages and compares; and beside it another process, whose memory must not change.

import type { Profile } from '../controllers/index.ts';
import type { Driver, DriverHost } from '../drivers/index.ts';
import type { GuardOptions } from '../guard/index.ts';
import { type Controller, type Disk, Machine, MachineError, RAM_DISK_MAX } from '../machine/index.ts';
import type { Medium } from '../media/index.ts';
import type { AnyEvent } from '../trace/index.ts';
import { copyDisk, KeptDisks, mediumOf } from './kept-disk.ts';
import type { Harness, Placement, UserBuffer, UserRange } from './kernel.ts';
import { bootLinuxHarness } from './linux.ts';
import { Observer } from './observe.ts';
import type { PartReport, ReportedFinding, RunReport, ZoneUse } from './report.ts';
import type { IovecShape, KernelName, Scenario, ScenarioOperation, ScenarioPart } from './schema.ts';
import { bootSolarisHarness } from './solaris.ts';

const MIB = 2 ** 20;
const PAGE = 4096;
/** Where the process's pages begin above 4 GiB, and where those of the other process begin at the bottom. */
const USER_OFFSET = 4 * MIB;
/** Below this everything is within reach of every controller. */
const LOW = 16 * MIB;
/** The process's pages are spread over at least this much memory. */
const LEAST_SPAN = MIB;
/** The process moves its input through a window of at most this many bytes. */
const WINDOW = 4 * MIB;
const MIN_RAM_DISK = 64 * MIB;
/** A kernel boots in no less, at address 0. */
const LEAST_RAM = MIB / 2;

/** The bytes that the scenario moves. */
export interface ScenarioInput {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Fills `into` with the bytes from `offset` on. */
  read(offset: number, into: Uint8Array): void;
}

export interface RunOptions {
  readonly module: WebAssembly.Module;
  readonly input: ScenarioInput;
  /** A running SHA-256, for what is read back. */
  readonly hash: () => { update(bytes: Uint8Array): void; digest(): string };
  /** The disk's bytes, for each part; default a disk in memory that is large enough. */
  readonly medium?: (bounce: boolean) => Medium;
  readonly profile?: Profile;
  /** Attaches a driver of the caller's; default: ours for the controller. Throws MachineError when it cannot. */
  readonly attach?: (host: DriverHost) => Driver;
  /** What the report calls that driver. */
  readonly driver?: string;
  /** Leaves bouncing out of every part, and what the scenario expects with it. */
  readonly noBounce?: boolean;
  readonly guard?: boolean | GuardOptions;
  readonly onEvent?: (event: AnyEvent) => void;
  /** Told now and then how far the run is, 0 to 1. */
  readonly onProgress?: (done: number, what: string) => void;
  /** Awaited between requests now and then, so that signals and timers are served; may throw to stop. */
  readonly pause?: () => Promise<void>;
}

/** Runs every part. Throws MachineError where the scenario and the machine do not fit. */
export async function runScenario(scenario: Scenario, options: RunOptions): Promise<RunReport> {
  const parts: PartReport[] = [];
  let seen: Part | null = null;
  // Without bouncing, a part that leaves it out anyway would be the same again.
  const chosen = scenario.parts.filter(({ bounce }) => bounce || options.noBounce !== true);
  const disks = new KeptDisks(scenario);
  for (const [i, part] of chosen.entries()) {
    const progress = (done: number): void => {
      options.onProgress?.((i + done) / chosen.length, part.title);
    };
    const run = new Part(scenario, part, options, disks.before(part));
    seen ??= run;
    const report = await run.run(progress);
    parts.push(report);
    if (report.skipped === null) disks.keep(part, run.disk);
  }
  if (seen === null) throw new MachineError('every part of the scenario leaves bouncing out already');
  const { controller, disk } = seen;
  return {
    ok: parts.every(({ ok }) => ok),
    scenario: scenario.name,
    about: scenario.about,
    seed: scenario.seed,
    controller: controller.kind,
    profile: controller.profile.name,
    board: controller.profile.board,
    addressBits: controller.profile.addressBits,
    kernel: parts[0]?.kernel ?? scenario.kernel,
    driver: options.driver ?? null,
    input: { path: options.input.path, bytes: options.input.bytes, sha256: options.input.sha256 },
    disk: { name: disk.medium?.name ?? 'memory', bytes: disk.bytes, sectorBytes: disk.sectorBytes },
    parts,
  };
}

/** One part on its own machine. */
class Part {
  readonly controller: Controller;
  readonly disk: Disk;
  readonly #machine: Machine;
  readonly #scenario: Scenario;
  readonly #part: ScenarioPart;
  readonly #options: RunOptions;
  readonly #bounce: boolean;
  readonly #problems: string[] = [];
  /** Requests that failed. */
  #failed = 0;
  #differing = 0;
  #digest = '';

  /** `before`: the disk whose bytes it goes on with; null: a fresh one. */
  constructor(scenario: Scenario, part: ScenarioPart, options: RunOptions, before: Disk | null) {
    this.#scenario = scenario;
    this.#part = part;
    this.#options = options;
    this.#bounce = part.bounce && options.noBounce !== true;
    const medium = before === null ? options.medium?.(this.#bounce) : mediumOf(before, this.#bounce);
    checkFits(scenario, options.input, medium?.bytes);
    const bytes = medium === undefined ? ramDiskBytes(scenario, options.input.bytes) : 0;
    this.#machine = new Machine(options.module, {
      ram: scenario.machine.ram ?? 'default',
      diskBytes: (bytes > RAM_DISK_MAX ? 0 : bytes) + MIB,
      guard: options.guard ?? true,
    });
    const profile = options.profile === undefined ? {} : { profile: options.profile };
    this.controller = this.#machine.addController({ kind: scenario.controller, ...profile });
    const { sectorBytes, latencyNs } = scenario.disk;
    this.disk = this.#machine.addDisk({
      ...(medium === undefined ? { bytes } : { medium }),
      ...(latencyNs === undefined ? {} : { latencyNs }),
      sectorBytes: sectorBytes as 512 | 4096,
    });
    if (before !== null && medium === undefined) copyDisk(before, this.disk);
    this.controller.attach(this.disk, 0);
    for (const fault of scenario.faults) {
      this.#machine.addFault({ ...fault, disk: this.disk });
    }
  }

  get #kernel(): KernelName {
    return this.#part.kernel ?? this.#scenario.kernel;
  }

  /** Linux has one way, and says nothing of it. */
  get #ways(): string[] {
    if (this.#kernel === 'linux') return [];
    const ways = this.#part.operations.flatMap((operation) =>
      operation.op === 'flush' ? [] : [operation.through ?? 'ddi_umem_iosetup'],
    );
    return [...new Set(ways)];
  }

  get #title(): string {
    return this.#options.noBounce === true
      ? `${this.#part.title}, but with bouncing left out`
      : this.#part.title;
  }

  async run(progress: (done: number) => void): Promise<PartReport> {
    const reason = this.#reasonToSkip();
    if (reason !== null) return this.#report(reason, null, null, []);
    const stopTrace = this.#options.onEvent && this.#machine.tracer.listen(this.#options.onEvent);
    const harness = this.#boot();
    const window = this.#window();
    const span = 2 * window + LEAST_SPAN; // the driver takes some of it where it may
    const bystander = new Bystander(this.#machine, harness, span, this.controller);
    if (!(await this.#attach(harness)))
      return this.#report(null, null, null, zoneUse(harness, [], null, bystander.pages));
    const buffers = {
      write: harness.allocate(window, this.#placement(span)),
      read: harness.allocate(window, this.#placement(span)),
    };
    const observer = new Observer(this.#machine, this.controller);
    const began = this.#machine.now();
    for (const [i, operation] of this.#part.operations.entries()) {
      const count = this.#part.operations.length;
      await this.#operate(operation, harness, buffers, (done) => progress((i + done) / count));
    }
    observer.stop();
    const virtualNs = this.#machine.now() - began;
    const damage = bystander.damage();
    this.#problems.push(...(await harness.shutdown()));
    await this.#machine.idleMedia();
    stopTrace?.();
    const zones = zoneUse(
      harness,
      [...buffers.write.pages, ...buffers.read.pages],
      observer,
      bystander.pages,
    );
    return this.#report(null, observer, { ...damage, virtualNs }, zones);
  }

  #boot(): Harness {
    const [first] = this.#machine.memory.regions;
    if (first === undefined || first.base !== 0 || first.bytes < LEAST_RAM) {
      throw new MachineError(
        `machine.ram: the kernel needs a region at 0 of at least ${LEAST_RAM} bytes, which "small" and "default" have`,
      );
    }
    const boot = this.#kernel === 'solaris' ? bootSolarisHarness : bootLinuxHarness;
    return boot({
      machine: this.#machine,
      controller: this.controller,
      disk: this.disk,
      seed: this.#scenario.seed,
      bounce: this.#bounce,
      ...(this.#options.attach === undefined ? {} : { attach: this.#options.attach }),
    });
  }

  /** A driver that does not find its disk is a result like any other: the guard may say why. */
  async #attach(harness: Harness): Promise<boolean> {
    try {
      await harness.attach();
    } catch (error) {
      if (!(error instanceof MachineError)) throw error;
      this.#problems.push(error.message);
      this.#differing = this.#options.input.bytes;
      return false;
    }
    this.#checkRequest(harness);
    return true;
  }

  #reasonToSkip(): string | null {
    if (this.#part.when === 'always' || this.#options.noBounce === true) return null;
    const bits = this.controller.profile.addressBits;
    const top = this.#machine.memory.regions.reduce(
      (most, { base, bytes }) => Math.max(most, base + bytes),
      0,
    );
    if (this.#scenario.userMemory !== 'low' && 2 ** bits < top) return null;
    return `${this.controller.profile.board} drives ${bits} address lines and reaches every page`;
  }

  /** Bytes of each of the process's two buffers. */
  #window(): number {
    const needed = Math.ceil(this.#options.input.bytes / PAGE) * PAGE;
    // The small layout leaves little room: the window shrinks with it.
    const share = Math.floor(this.#machine.memory.bytes / 32 / PAGE) * PAGE;
    const shaped = this.#part.operations.some(
      (operation) => 'iovec' in operation && operation.iovec !== undefined,
    );
    return Math.max(PAGE * 2, Math.min(WINDOW, shaped ? WINDOW : needed, share));
  }

  #checkRequest(harness: Harness): void {
    const unit = this.disk.sectorBytes;
    if (Math.min(this.#scenario.requestBytes, harness.maxRequestBytes) >= unit) return;
    throw new MachineError(
      `requestBytes is ${this.#scenario.requestBytes}; it must be at least a sector, ${unit} bytes`,
    );
  }

  /** Where the process's pages come from: anywhere in `span` bytes of the memory that the scenario wants. */
  #placement(span: number): Placement {
    const top = this.#machine.memory.regions.at(-1);
    if (this.#scenario.userMemory === 'scattered' || top === undefined) return { scatter: true };
    if (this.#scenario.userMemory === 'low') return { below: LOW, scatter: true };
    if (top.bytes < 4 * USER_OFFSET) return { from: top.base, scatter: true };
    if (top.base === 0) return { scatter: true };
    const from = top.base + USER_OFFSET;
    return { from, below: from + span, scatter: true };
  }

  async #operate(
    operation: ScenarioOperation,
    harness: Harness,
    buffers: { write: UserBuffer; read: UserBuffer },
    progress: (done: number) => void,
  ): Promise<void> {
    if (operation.op === 'flush') {
      const error = await harness.flush();
      if (error !== 0) this.#problems.push(`flush failed with errno ${-error}`);
      return;
    }
    const buffer = buffers[operation.op];
    const from = operation.offset;
    const total = operation.bytes ?? this.#options.input.bytes - from;
    const hash = this.#options.hash();
    for (let done = 0; done < total; done += buffer.bytes) {
      const bytes = Math.min(buffer.bytes, total - done);
      await this.#moveWindow(operation, harness, buffer, from + done, done, bytes, hash);
      progress(Math.min(1, (done + bytes) / total));
      await this.#options.pause?.();
    }
    if (operation.op === 'read') this.#digest = hash.digest();
  }

  /** Moves `bytes` bytes of the input that fit the buffer, request by request. */
  async #moveWindow(
    operation: Exclude<ScenarioOperation, { op: 'flush' }>,
    harness: Harness,
    buffer: UserBuffer,
    at: number,
    done: number,
    bytes: number,
    hash: { update(bytes: Uint8Array): void },
  ): Promise<void> {
    const unit = this.disk.sectorBytes;
    const wanted = new Uint8Array(Math.ceil(bytes / unit) * unit);
    this.#options.input.read(at, wanted.subarray(0, bytes));
    const requestBytes =
      Math.floor(Math.min(this.#scenario.requestBytes, harness.maxRequestBytes) / unit) * unit;
    for (let offset = 0; offset < wanted.length; offset += requestBytes) {
      const piece = wanted.subarray(offset, offset + requestBytes);
      const ranges = layOut(buffer, offset, piece.length, operation.iovec);
      // What is to be read is the opposite of what stands there: bytes that never arrive cannot look right.
      const before = operation.op === 'write' ? piece : piece.map((byte) => ~byte);
      eachRange(ranges, before, (address, part) => harness.store(address, part));
      const sector = operation.sector + (done + offset) / unit;
      const error = await harness.transfer({
        direction: operation.op,
        sector,
        sectors: piece.length / unit,
        ranges,
        ...(operation.through === undefined ? {} : { through: operation.through }),
      });
      if (error !== 0) this.#fail(operation.op, sector, error);
      if (operation.op === 'write') continue;
      const got = new Uint8Array(piece.length);
      eachRange(ranges, got, (address, part) => harness.load(address, part));
      const counts = Math.min(piece.length, bytes - offset); // the rest fills up the last sector
      hash.update(got.subarray(0, counts));
      this.#differing += countDifferences(got.subarray(0, counts), piece);
    }
  }

  #fail(op: string, sector: number, error: number): void {
    this.#failed++;
    if (this.#part.expect.failedRequests === undefined && this.#problems.length < 5)
      this.#problems.push(`${op} at sector ${sector} failed with errno ${-error}`);
  }

  #report(
    skipped: string | null,
    observer: Observer | null,
    outcome: { bytes: number; first: number | null; virtualNs: number } | null,
    zones: readonly ZoneUse[],
  ): PartReport {
    const reads = this.#part.operations.some(({ op }) => op === 'read');
    const identical = this.#differing === 0;
    const findings = this.#findings();
    const problems =
      skipped === null ? [...this.#problems, ...this.#unexpected(findings, identical, reads)] : [];
    return {
      title: this.#title,
      kernel: this.#kernel,
      ways: this.#ways,
      bounce: this.#bounce,
      skipped,
      ok: problems.length === 0,
      problems,
      readback: { sha256: this.#digest, identical, differingBytes: this.#differing },
      pages: {
        user: observer?.pinned ?? 0,
        direct: observer?.direct ?? 0,
        bounced: observer?.bounced ?? 0,
      },
      copiedBytes: observer?.copiedBytes ?? 0,
      segments: observer?.segments ?? 0,
      requests: observer?.requests ?? 0,
      commands: observer?.commands ?? 0,
      interrupts: observer?.interrupts ?? 0,
      virtualNs: outcome?.virtualNs ?? 0,
      overwrittenBytes: outcome?.bytes ?? 0,
      firstOverwritten: outcome?.first ?? null,
      findings,
      lostFindings: this.#machine.guard.lost,
      firstList: observer?.firstList ?? [],
      firstPages: observer?.firstPages ?? [],
      zones,
    };
  }

  #findings(): ReportedFinding[] {
    const declared = this.#options.noBounce === true ? [] : (this.#part.expect.findings ?? []);
    return this.#machine.guard
      .findings()
      .map((finding) => ({ ...finding, part: this.#title, expected: declared.includes(finding.rule) }));
  }

  /** What is not as the scenario says. */
  #unexpected(findings: readonly ReportedFinding[], identical: boolean, reads: boolean): string[] {
    const own = this.#options.noBounce === true;
    const expected = own ? { findings: [], identical: true } : this.#part.expect;
    const problems: string[] = [];
    const wanted = this.#part.expect.failedRequests;
    if (wanted !== undefined && wanted !== this.#failed) {
      problems.push(
        `${this.#failed} request${this.#failed === 1 ? '' : 's'} failed, and ${wanted} were expected to`,
      );
    }
    for (const rule of expected.findings ?? []) {
      if (!findings.some((finding) => finding.rule === rule))
        problems.push(`the guard did not report ${rule}, which was expected`);
    }
    const surprises = new Set(findings.filter((finding) => !finding.expected).map(({ rule }) => rule));
    for (const rule of surprises) problems.push(`the guard reported ${rule}`);
    if (reads && this.#digest !== '' && identical !== (expected.identical ?? true)) {
      problems.push(
        identical
          ? 'the data are identical, which was not expected'
          : `the data differ in ${this.#differing} bytes`,
      );
    }
    return problems;
  }
}

/** The memory of another process, at the addresses where the user's pages end up if their high half is lost. */
class Bystander {
  readonly pages: readonly number[];
  readonly #buffer: UserBuffer | null;
  readonly #harness: Harness;
  readonly #wanted: Uint8Array;

  constructor(machine: Machine, harness: Harness, bytes: number, controller: Controller) {
    this.#harness = harness;
    const low = machine.memory.regions[0];
    const roomy =
      machine.memory.regions.length > 1 &&
      low !== undefined &&
      low.bytes >= 4 * USER_OFFSET &&
      controller.profile.addressBits < 64;
    this.#buffer = roomy ? harness.allocate(bytes, { from: USER_OFFSET, below: USER_OFFSET + bytes }) : null;
    this.pages = this.#buffer?.pages ?? [];
    this.#wanted = new Uint8Array(this.#buffer?.bytes ?? 0).map((_, i) => 0xb0 ^ (i >>> 8) ^ (i & 0xff));
    if (this.#buffer !== null) harness.store(this.#buffer.address, this.#wanted);
  }

  damage(): { bytes: number; first: number | null } {
    if (this.#buffer === null) return { bytes: 0, first: null };
    const got = new Uint8Array(this.#buffer.bytes);
    this.#harness.load(this.#buffer.address, got);
    const at = got.findIndex((byte, i) => byte !== this.#wanted[i]);
    const page = this.pages[Math.floor(at / PAGE)];
    return {
      bytes: countDifferences(got, this.#wanted),
      first: at < 0 || page === undefined ? null : page + (at % PAGE),
    };
  }
}

/** Throws MachineError where the input and the disk are no match: too long, or shorter than what is wanted of it. */
export function checkFits(
  scenario: Scenario,
  input: { readonly path: string; readonly bytes: number },
  diskBytes = ramDiskBytes(scenario, input.bytes),
): void {
  const unit = scenario.disk.sectorBytes;
  if (diskBytes % unit !== 0) {
    throw new MachineError(
      `a disk of ${diskBytes} bytes: the size must be a multiple of the sector, ${unit} bytes`,
    );
  }
  for (const operation of scenario.parts.flatMap(({ operations }) => operations)) {
    if (operation.op === 'flush') continue;
    const { op, offset, sector } = operation;
    const bytes = operation.bytes ?? input.bytes - offset;
    if (bytes <= 0 || offset + bytes > input.bytes) {
      const wanted = operation.bytes === undefined ? '' : `${bytes} bytes `;
      throw new MachineError(
        `operation "${op}" wants ${wanted}from byte ${offset} on of ${input.path}, which has ${input.bytes} bytes`,
      );
    }
    const end = sector * unit + Math.ceil(bytes / unit) * unit;
    if (end > diskBytes) {
      throw new MachineError(
        `${input.path} has ${input.bytes} bytes and does not fit the disk of ${diskBytes} bytes; one of ${end} bytes would do`,
      );
    }
  }
}

function ramDiskBytes(scenario: Scenario, input: number): number {
  const needed = Math.ceil(input / PAGE) * PAGE;
  const small = scenario.machine.ram === 'small';
  // A larger disk may be mostly empty; the input would fill it.
  if (input > RAM_DISK_MAX) {
    throw new MachineError(
      `an input of ${input} bytes does not fit memory, which takes at most ${RAM_DISK_MAX}; use an image as large as it (--image)`,
    );
  }
  return scenario.disk.bytes ?? Math.max(needed, small ? MIB : MIN_RAM_DISK);
}

/**
 * The user memory of one request. Without a shape it is the part of the buffer from `offset` on; with one, each
 * element begins at its offset in a page of its own, from the start of the buffer on.
 */
function layOut(
  buffer: UserBuffer,
  offset: number,
  bytes: number,
  shape: readonly IovecShape[] | undefined,
): UserRange[] {
  if (shape === undefined) return [{ address: buffer.address + offset, bytes }];
  const ranges: UserRange[] = [];
  let page = 0;
  for (let i = 0, left = bytes; left > 0; i = (i + 1) % shape.length) {
    const element = shape[i] as IovecShape; // a shape has at least one element
    const n = Math.min(left, element.bytes);
    ranges.push({ address: buffer.address + page + element.offset, bytes: n });
    page += Math.ceil((element.offset + n) / PAGE) * PAGE;
    left -= n;
  }
  if (page > buffer.bytes) {
    throw new MachineError(
      `iovec: a request of ${bytes} bytes in this shape takes ${page / PAGE} pages, and the process has ${buffer.bytes / PAGE}; longer elements or a smaller requestBytes would do`,
    );
  }
  return ranges;
}

function eachRange(
  ranges: readonly UserRange[],
  data: Uint8Array,
  visit: (address: number, part: Uint8Array) => void,
): void {
  let at = 0;
  for (const { address, bytes } of ranges) {
    visit(address, data.subarray(at, at + bytes));
    at += bytes;
  }
}

function countDifferences(a: Uint8Array, b: Uint8Array): number {
  let count = 0;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) count++;
  return count;
}

function zoneUse(
  harness: Harness,
  user: readonly number[],
  observer: Observer | null,
  bystanders: readonly number[],
): ZoneUse[] {
  return harness.zones.map((zone) => {
    const inside = (address: number): boolean => address >= zone.base && address < zone.base + zone.bytes;
    return {
      ...zone,
      userPages: user.filter(inside).length,
      bouncePages: [...(observer?.standIns ?? [])].filter(inside).length,
      bystanderPages: bystanders.filter(inside).length,
    };
  });
}
