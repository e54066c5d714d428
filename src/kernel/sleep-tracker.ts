// Debug help: finds calls of functions that may sleep whose `yield*` was forgotten. Such a call makes a generator that
// nobody ever starts, and does nothing. The types and the linter find most; this finds the rest.

import { KernelBug } from './errors.ts';

// The type of a generator function has no global name.
const generatorPrototype: unknown = Object.getPrototypeOf(function* () {});

export class SleepTracker {
  private readonly made = new Map<object, string>();

  /**
   * Watches every generator method of an object from now on, inherited ones too, and returns the object.
   * @param label prefix for messages: `Mutex` gives `Mutex.lock`
   */
  instrument<T extends object>(api: T, label: string): T {
    for (
      let level: object | null = api;
      level !== null;
      level = Object.getPrototypeOf(level) as object | null
    ) {
      for (const key of Object.getOwnPropertyNames(level)) {
        const method: unknown = Object.getOwnPropertyDescriptor(level, key)?.value;
        if (!isGeneratorFunction(method) || (level !== api && Object.hasOwn(api, key))) continue;
        Object.defineProperty(api, key, {
          value: (...args: unknown[]): unknown =>
            this.watch(Reflect.apply(method, api, args) as object, `${label}.${key}`),
          configurable: true,
        });
      }
    }
    return api;
  }

  /** Stops watching one generator: somebody keeps it to start it later. */
  forget(generator: object): void {
    this.made.delete(generator);
  }

  /** Where generators were made that nobody started so far. */
  get unstarted(): readonly string[] {
    return [...this.made.values()];
  }

  /** @throws KernelBug `sleep-forgotten` when there is one that nobody started */
  check(): void {
    const first = this.unstarted[0];
    if (first === undefined) return;
    this.made.clear();
    throw new KernelBug('sleep-forgotten', 'called without yield*: nothing was done', first);
  }

  private watch(generator: object, name: string): object {
    const caller = new Error().stack?.split('\n')[3]?.trim() ?? '';
    this.made.set(generator, `${name} ${caller}`);
    // yield* reads `next` once, when it starts: this own property hides the inherited one until then.
    Object.defineProperty(generator, 'next', {
      configurable: true,
      get: () => {
        this.made.delete(generator);
        Reflect.deleteProperty(generator, 'next');
        return (generator as { next: unknown }).next;
      },
    });
    return generator;
  }
}

function isGeneratorFunction(value: unknown): value is (...args: unknown[]) => unknown {
  return typeof value === 'function' && Object.getPrototypeOf(value) === generatorPrototype;
}
