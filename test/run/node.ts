// A process of Node that a test waits for.

import { type SpawnSyncOptions, spawnSync } from 'node:child_process';

/** The longest takes a few seconds; a loaded machine ten times that. */
const TIMEOUT_MS = 90_000;
/** Node itself hangs at a process's end now and then, without using the CPU (nodejs/node issue 54918). */
const ATTEMPTS = 2;

export interface Ended {
  /** null: a signal ended it; here that it did not end by itself. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs `node …args` to its end. The thread that waits cannot be stopped by the runner's watchdog, so what does not end
 * is killed here, and tried once more.
 */
export function runNode(
  args: readonly string[],
  options: Pick<SpawnSyncOptions, 'cwd' | 'env' | 'input' | 'timeout'> = {},
): Ended {
  for (let attempt = 1; ; attempt++) {
    const { status, stdout, stderr, error } = spawnSync(process.execPath, args, {
      timeout: TIMEOUT_MS,
      ...options,
      encoding: 'utf8',
      maxBuffer: 1 << 26,
      killSignal: 'SIGKILL',
    });
    const hung = error !== undefined && 'code' in error && error.code === 'ETIMEDOUT';
    if (!hung || attempt === ATTEMPTS) return { status, stdout, stderr };
    process.stderr.write(`node ${args.join(' ')} does not end; once more\n`);
  }
}
