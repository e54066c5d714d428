// Drives the kernels under comparison in step, each on a machine of its own, and a model beside them: after every
// request its result, the memory around it and the sectors around it must be what the model says.

import { MachineError } from '../machine/index.ts';
import type { CompareOptions, CompareReport, Difference } from './compare.ts';
import { checkDisk, checkMemory, describe, describeResult, findDifference } from './compare-check.ts';
import { type Failure, Model } from './compare-model.ts';
import { Side } from './compare-side.ts';
import { READABLE, type TransferOperation, type WorkloadShape, workload } from './workload.ts';

const PAGE = 4096;
const SECTOR = 512;
/** A small disk, so that requests meet on it. */
const SECTORS = 8192;
const BUFFERS = 3;
/** Requests are no longer, whatever the kernels take. */
const MOST_BYTES = 2 ** 18;
const BETWEEN_PAUSES = 64;

export class Comparison {
  readonly #options: CompareOptions;
  readonly #sides: readonly Side[];
  readonly #failures = { memory: 0, medium: 0, end: 0 };
  #difference: Difference | null = null;
  /** The operation that is being done; null before the first and after the last. */
  #at: number | null = null;

  constructor(options: CompareOptions) {
    this.#options = options;
    const { module, controller, seed } = options;
    this.#sides = options.kernels.map(
      (kernel) => new Side(kernel, { module, controller, seed, diskBytes: SECTORS * SECTOR }),
    );
  }

  async run(): Promise<CompareReport> {
    for (const side of this.#sides) await this.#attach(side);
    if (this.#difference !== null) return this.#report();
    const shape = this.#shape();
    const model = new Model(this.#options.seed, shape);
    for (const side of this.#sides) side.begin(model);
    await this.#operate(shape, model);
    for (const side of this.#sides) if (this.#difference === null) await this.#end(side, model);
    return this.#report();
  }

  /** A driver that does not find its disk is a result like any other: the guard may say why. */
  async #attach(side: Side): Promise<void> {
    try {
      await side.harness.attach();
    } catch (error) {
      if (!(error instanceof MachineError)) throw error;
      this.#checkGuard(side);
      this.#differ(side, error.message);
    }
  }

  /** What every kernel takes on this controller. */
  #shape(): WorkloadShape {
    const least = Math.min(MOST_BYTES, ...this.#sides.map(({ harness }) => harness.maxRequestBytes));
    return {
      sectorBytes: SECTOR,
      sectors: SECTORS,
      maxRequestBytes: least,
      maxPages: Math.max(1, Math.floor(least / PAGE)),
      longestBytes: MOST_BYTES,
      buffers: BUFFERS,
    };
  }

  async #operate(shape: WorkloadShape, model: Model): Promise<void> {
    const { seed, operations, onProgress, pause } = this.#options;
    const source = workload(seed, shape);
    for (let i = 0; i < operations && this.#difference === null; i++) {
      this.#at = i;
      const operation = source.next().value;
      if (operation.op === 'flush') await this.#flush();
      else await this.#transfer(operation, model);
      for (const side of this.#sides) this.#checkGuard(side);
      if (i % BETWEEN_PAUSES > 0) continue;
      onProgress?.(i / operations);
      await pause?.();
    }
    if (this.#difference === null) this.#at = null;
  }

  async #flush(): Promise<void> {
    for (const side of this.#sides) {
      const result = await this.#attempt(side, 'a flush', () => side.harness.flush());
      if (result !== null && result !== 0) this.#differ(side, `a flush ended with ${describeResult(result)}`);
    }
  }

  async #transfer(operation: TransferOperation, model: Model): Promise<void> {
    const failure = model.failure(operation);
    const stored = model.prepare(operation);
    const memory = model.bytesOf(operation.buffer);
    for (const side of this.#sides) {
      for (const stretch of stored) side.store(operation.buffer, stretch, memory);
    }
    if (failure === null) model.apply(operation);
    else this.#failures[failure.reason]++;
    const what = describe(operation);
    for (const side of this.#sides) {
      const result = await this.#attempt(side, what, () => side.transfer(operation));
      if (result === null) continue;
      const expected = resultsOf(side, operation, failure);
      if (!expected.includes(result)) {
        this.#differ(
          side,
          `${what} ended with ${describeResult(result)} instead of ${expected.map(describeResult).join(' or ')}`,
        );
        continue;
      }
      const outcome = { side, operation, failure, result };
      const differing = checkMemory(outcome, model) ?? checkDisk(outcome, model);
      if (differing !== null) this.#differ(side, `${what}: ${differing}`);
      if (failure === null) continue;
      for (const stretch of stored) side.store(operation.buffer, stretch, memory);
    }
  }

  /** What the kernel throws is a difference, too; null for the result then. */
  async #attempt(side: Side, what: string, request: () => Promise<number>): Promise<number | null> {
    try {
      return await request();
    } catch (error) {
      this.#differ(side, `${what} threw ${String(error)}`);
      return null;
    }
  }

  #checkGuard(side: Side): void {
    const [finding] = side.machine.guard.findings();
    if (finding !== undefined) this.#differ(side, `the guard reported ${finding.rule}: ${finding.message}`);
  }

  /** Everything once more, as it is when the kernel is gone. */
  async #end(side: Side, model: Model): Promise<void> {
    const result = await this.#attempt(side, 'the last flush', () => side.harness.flush());
    if (result !== null && result !== 0)
      this.#differ(side, `the last flush ended with ${describeResult(result)}`);
    for (const [buffer, wanted] of model.memory.entries()) {
      const got = side.load(buffer, { at: 0, bytes: READABLE });
      const differing = findDifference(got, wanted.subarray(0, READABLE), `buffer ${buffer}`, 0);
      if (differing !== null) this.#differ(side, `at the end ${differing}`);
    }
    const problems = await side.harness.shutdown();
    side.stop();
    for (const problem of problems) this.#differ(side, `at the end ${problem}`);
    const differing = findDifference(side.disk.read(0, model.disk.length), model.disk, 'the disk', 0);
    if (differing !== null) this.#differ(side, `at the end ${differing}`);
    this.#checkGuard(side);
  }

  #differ(side: Side, what: string): void {
    this.#difference ??= { operation: this.#at, kernel: side.kernel.name, what };
  }

  #report(): CompareReport {
    const { seed, operations } = this.#options;
    const [first] = this.#sides;
    return {
      ok: this.#difference === null,
      controller: first?.controller.kind ?? '',
      profile: first?.controller.profile.name ?? '',
      seed,
      operations,
      failures: this.#failures,
      kernels: this.#sides.map((side) => side.figures()),
      difference: this.#difference,
      smallest: null,
    };
  }
}

/** What a request may return. */
function resultsOf(
  { kernel }: Side,
  { fault }: TransferOperation,
  failure: Failure | null,
): readonly number[] {
  if (failure === null) return [0];
  const results = kernel.results[failure.reason];
  return fault !== null && kernel.triesAgain ? [0, ...results] : results;
}
