// Generated from openapi/openapi.yaml by npm run generate: do not edit.
export interface paths {
    "/api/containers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List containers, newest first */
        get: operations["list-containers"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/containers/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Get a container */
        get: operations["get-container"];
        put?: never;
        post?: never;
        /** Stop a container */
        delete: operations["container-stop"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/containers/{id}/credentials": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Passwords of the desktop and of code-server */
        get: operations["get-container-credentials"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/containers/{id}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What happened to a container, oldest first */
        get: operations["get-container-events"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/containers/{id}/generations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Kept saves of a container's workspace, newest first; none where it is kept nowhere */
        get: operations["list-generations"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/containers/{id}/keepalive": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Put off the stop of a running container that nobody uses; the end of its lifetime stays */
        post: operations["keep-container-alive"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/containers/{id}/logs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What a container's programs have printed, oldest first, as Accept says: text/plain, or text/event-stream for source and level as well */
        get: operations["get-container-logs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/containers/{id}/move": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Move a running container to another node: save, stop, start there */
        post: operations["container-move"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/containers/{id}/probe": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Probe a running container now */
        post: operations["container-probe"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/containers/{id}/restart": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Restart a running container: save, stop, start */
        post: operations["container-restart"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/containers/{id}/restore": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Go back to an earlier save, and start the container with it */
        post: operations["container-restore"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/containers/{id}/save": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Save a running container's workspace now */
        post: operations["container-save"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/containers/{id}/start": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Start a stopped or failed container again */
        post: operations["container-start"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/containers/{id}/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What a container has used, over time
         * @description Kept in steps of 10 seconds for 20 minutes, of a minute for 6 hours and of 15 minutes for a day.
         */
        get: operations["get-container-usage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/containers/check": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Whether a start would be admitted now, and where; makes nothing */
        post: operations["check-container"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/containers/start": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Start a new container */
        post: operations["container-create"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/dashboard/container/{id}/action": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Start, stop, restart or delete a container */
        post: operations["act-on-container"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/dashboard/containers/action": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Start, stop, restart or delete several containers */
        post: operations["containers-action"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/dashboard/logs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lines of all containers and of the control plane, as server-sent events */
        get: operations["stream-logs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/dashboard/nodes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** All nodes, with what their workers measure */
        get: operations["list-nodes"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/dashboard/overview": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What there is, what it uses, and what needs attention */
        get: operations["get-overview"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/dashboard/stream": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * All that changes, for a page that shows it, as server-sent events
         * @description One stream for all that a page shows. Its events, each with JSON as data:
         *
         *     - hello {version, at, name, role, topics}: the stream has begun, or changes may have been missed. Read the lists that are shown, again.
         *       topics are those asked for that the key may see.
         *     - beat {at}: every 5 seconds, while the control plane hears of changes.
         *     - overview, nodes: the body of GET /api/dashboard/overview or nodes, when it has changed, at most every 2 seconds.
         *     - container: an item of GET /api/containers that has changed, or is new; gone {id}: its record was dropped.
         *     - job: GET /api/jobs/{id}, when it has changed.
         *     - logs: an array of lines, oldest first. Its ID is the Last-Event-ID to go on from.
         *     - dropped {count}: so many lines were left out, because the reader is too slow.
         *     - end {reason}: revoked, signed-out or expired. The stream ends for good.
         */
        get: operations["stream-dashboard"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/dashboard/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What all nodes together have used, over time
         * @description Kept for a day in all steps. Percentages are of the nodes that have reported, each by its size.
         */
        get: operations["get-usage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Everything that happens, as server-sent events */
        get: operations["stream-events"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** State of the control plane */
        get: operations["health"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/jobs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List jobs, newest first */
        get: operations["list-jobs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/jobs/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Get a job, or wait for its end */
        get: operations["get-job"];
        put?: never;
        post?: never;
        /** Cancel a job */
        delete: operations["cancel-job"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/jobs/{id}/retry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Try a failed job again, as a new job */
        post: operations["retry-job"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List API keys */
        get: operations["list-keys"];
        put?: never;
        /** Make an API key */
        post: operations["create-key"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/keys/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Revoke an API key; every process refuses it from then on */
        delete: operations["delete-key"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/nodes/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Get a node */
        get: operations["get-node"];
        put?: never;
        post?: never;
        /** Take a drained or lost node out of the Swarm */
        delete: operations["node-remove"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/nodes/{id}/activate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Let a node take containers again */
        post: operations["node-activate"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/nodes/{id}/drain": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Move all containers of a node elsewhere, and place nothing there any more */
        post: operations["node-drain"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/nodes/{id}/labels": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Replace the labels of a node */
        put: operations["node-labels"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/nodes/{id}/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What a node has used, over time
         * @description Kept for a day in all steps.
         */
        get: operations["get-node-usage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/nodes/join-token": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What a machine needs to join the Swarm */
        get: operations["get-join-token"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/schedules": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What runs by itself, and when */
        get: operations["list-schedules"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/schedules/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Get a schedule */
        get: operations["get-schedule"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/schedules/{name}/pause": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Let it rest until it is resumed */
        post: operations["pause-schedule"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/schedules/{name}/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** End a pause; what fell into it is not made up for */
        post: operations["resume-schedule"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/schedules/{name}/run": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Run it now, also while it is paused */
        post: operations["run-schedule"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Whose session or key it is */
        get: operations["get-session"];
        put?: never;
        /** Sign in a browser: exchange an API key for a cookie, for 12 hours */
        post: operations["create-session"];
        /** Sign out: end the session whose cookie comes with the request */
        delete: operations["delete-session"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/templates": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What can be started */
        get: operations["list-templates"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/webhooks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List standing webhooks */
        get: operations["list-webhooks"];
        put?: never;
        /** Make a standing webhook; its secret is shown once */
        post: operations["create-webhook"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/webhooks/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Get a webhook */
        get: operations["get-webhook"];
        put?: never;
        post?: never;
        /** Delete a webhook and its deliveries */
        delete: operations["delete-webhook"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/webhooks/{id}/deliveries": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What a webhook was told, newest first, with every attempt */
        get: operations["list-webhook-deliveries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/webhooks/{id}/deliveries/{delivery}/redeliver": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Deliver once more, or now instead of later */
        post: operations["redeliver-webhook"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/webhooks/{id}/rotate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Give a webhook a new secret; the old one signs beside it for 24 hours */
        post: operations["rotate-webhook"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Metrics for Prometheus
         * @description For admin and viewer keys. What is told of containers, jobs, queues and nodes is of the whole control plane and the same from every replica.
         */
        get: operations["get-metrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export interface webhooks {
    "container.failed": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A start or a stop was given up.
         * @description Sent to webhooks as Standard Webhooks describe (standardwebhooks.com), at least once.
         */
        post: operations["on-container-failed"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "container.idle_warning": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Nobody uses the container; it is stopped soon.
         * @description Sent to webhooks as Standard Webhooks describe (standardwebhooks.com), at least once.
         */
        post: operations["on-container-idle-warning"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "container.running": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * All three URLs answer.
         * @description Sent to webhooks as Standard Webhooks describe (standardwebhooks.com), at least once.
         */
        post: operations["on-container-running"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "container.starting": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A start was admitted.
         * @description Sent to webhooks as Standard Webhooks describe (standardwebhooks.com), at least once.
         */
        post: operations["on-container-starting"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "container.stopped": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * The container is gone and its workspace is saved.
         * @description Sent to webhooks as Standard Webhooks describe (standardwebhooks.com), at least once.
         */
        post: operations["on-container-stopped"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "container.stopping": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A stop was asked for.
         * @description Sent to webhooks as Standard Webhooks describe (standardwebhooks.com), at least once.
         */
        post: operations["on-container-stopping"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "job.failed": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A job failed.
         * @description Sent to webhooks as Standard Webhooks describe (standardwebhooks.com), at least once.
         */
        post: operations["on-job-failed"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "job.succeeded": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A container's job succeeded.
         * @description Sent to webhooks as Standard Webhooks describe (standardwebhooks.com), at least once.
         */
        post: operations["on-job-succeeded"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "node.down": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A node does not answer Swarm any more. For admins' endpoints.
         * @description Sent to webhooks as Standard Webhooks describe (standardwebhooks.com), at least once.
         */
        post: operations["on-node-down"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "node.failing": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Three starts in a row failed on a node that went well on others: nothing is put there for five minutes. For admins' endpoints.
         * @description Sent to webhooks as Standard Webhooks describe (standardwebhooks.com), at least once.
         */
        post: operations["on-node-failing"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "node.pressure": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * What a node is short of has changed: data.node.pressure names it, nothing once that is over. For admins' endpoints.
         * @description Sent to webhooks as Standard Webhooks describe (standardwebhooks.com), at least once.
         */
        post: operations["on-node-pressure"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "node.up": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A node is ready again. For admins' endpoints.
         * @description Sent to webhooks as Standard Webhooks describe (standardwebhooks.com), at least once.
         */
        post: operations["on-node-up"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export interface components {
    schemas: {
        ActionRequest: {
            /**
             * @description start one that is down, stop one with its workspace saved, restart does both, delete stops it if it runs and drops its record
             * @enum {string}
             */
            action: "start" | "stop" | "restart" | "delete";
        };
        ActivityRequest: {
            /**
             * Format: double
             * @description Cores: a load that reaches it, as of a long build, counts as use
             * @example 0.5
             */
            cpu?: number;
        };
        AddressAnswer: {
            /**
             * Format: date-time
             * @description When they were counted
             */
            at: string;
            /**
             * Format: int64
             * @description Left
             * @example 65100
             */
            free: number;
            /**
             * Format: int64
             * @description All that can be given to tasks
             * @example 65533
             */
            total: number;
        };
        Attempt: {
            /**
             * @description The first 1 KiB of the answer's body
             * @example try later
             */
            answer?: string;
            /**
             * Format: date-time
             * @description When
             */
            at: string;
            /**
             * @description Why there was no answer, or what was wrong with it
             * @example There was no answer within 15 seconds.
             */
            error?: string;
            /**
             * Format: double
             * @description Until the answer, or until it was given up
             * @example 0.12
             */
            seconds: number;
            /**
             * Format: int64
             * @description HTTP status of the answer; missing if there was none
             * @example 503
             */
            status?: number;
        };
        Attention: {
            /**
             * @description The container that it is about
             * @example k3xqh5zt2mwfa
             */
            containerId?: string;
            /**
             * @description The job that it is about
             * @example container-stop:k3xqh5zt2mwfa:2
             */
            jobId?: string;
            /**
             * @description What is wrong
             * @enum {string}
             */
            kind: "job_failed" | "container_unsaved" | "node_down" | "node_stale" | "node_failing" | "node_pressure" | "disk" | "addresses" | "redis_memory" | "redis_policy";
            /**
             * @description The same, for people
             * @example Node node-2 does not answer Swarm.
             */
            message: string;
            /**
             * @description Where
             * @example x8vlm0vmpo1jg5yk4zo2dgpyh
             */
            nodeId?: string;
            /**
             * Format: date-time
             * @description Since when, where that is known
             */
            since?: string;
        };
        Bytes: {
            /**
             * Format: double
             * @description In use, of those there are where it is measured
             * @example 37.5
             */
            percent: number;
            /**
             * Format: int64
             * @description Bytes given away: to containers, and to services of others; nobody reserves disk
             * @example 4294967296
             */
            reserved: number;
            /**
             * Format: int64
             * @description Bytes there are
             * @example 17179869184
             */
            total: number;
            /**
             * Format: int64
             * @description Bytes in use, as measured
             * @example 6442450944
             */
            used: number;
        };
        Check: {
            /**
             * @description What is wrong
             * @example Redis does not answer.
             */
            message?: string;
            /** @description Whether it is well */
            ok: boolean;
        };
        CheckAnswer: {
            /** @description The bucket was tried */
            bucketTried?: boolean;
            /**
             * @description Name of the error that it would get
             * @example RESOURCE_LIMIT_EXCEEDED
             */
            code?: string;
            /** @description Whether a start would be admitted now, so far as is known, and could run */
            fits: boolean;
            /**
             * @description What would run
             * @example registry.example.com/ide:3
             */
            image: string;
            /**
             * @description present: a node that it fits on has the image; absent: none has, so that it is pulled at the first start; unknown: it is not the image of a template, or no worker has reported
             * @enum {string}
             */
            imageFound: "present" | "absent" | "unknown";
            /**
             * Format: int64
             * @description How many the key may have; missing is any number
             * @example 50
             */
            limit?: number;
            /**
             * Format: int64
             * @description Live containers of the key
             * @example 3
             */
            live: number;
            /** @description No node can ever take it, as the nodes are */
            never?: boolean;
            /** @description Every node, and whether it has room; for admins and viewers */
            nodes: components["schemas"]["NodeCheck"][];
            /**
             * @description Why not, in a sentence
             * @example No node has room.
             */
            why?: string;
        };
        CheckRequest: {
            /** @description What counts as use, beside typing, input on the desktop and bytes on the web port */
            activity?: components["schemas"]["ActivityRequest"];
            /**
             * @description Credentials for the bucket; prefer a role
             * @example AKIAIOSFODNN7EXAMPLE
             */
            awsAccessKeyId?: string;
            /**
             * @description Goes with awsAccessKeyId
             * @example wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
             */
            awsSecretAccessKey?: string;
            /** @description Try the bucket as a start does: list, write, read and delete below .berth/check */
            bucket?: boolean;
            /**
             * Format: int64
             * @description Seconds without use after which it is saved and stopped; 0 is never; the server's default if missing
             * @example 1800
             */
            idleTimeout?: number;
            /**
             * @description Image to run, where the server allows it; the template's if missing
             * @example registry.example.com/ide:3
             */
            image?: string;
            /** @description Your own labels */
            labels?: {
                [key: string]: string;
            };
            /** @description On which node it may run, beside what its template says */
            placement?: components["schemas"]["PlacementInput"];
            /** @description The template's, or else the server's, if missing */
            resources?: components["schemas"]["ResourceRequest"];
            /**
             * @description Bucket of the workspace
             * @example alice-workspace
             */
            s3Bucket: string;
            /**
             * @description Folder in the bucket
             * @example course-1/alice
             */
            s3Prefix?: string;
            /**
             * @description Region of the bucket; the server's default if missing
             * @example us-east-1
             */
            s3Region?: string;
            /**
             * @description One of the server's templates: image, resources, web command and environment; default if missing
             * @example python
             */
            template?: string;
            /**
             * @description Password of the desktop: 6 to 8 visible ASCII characters (VNC knows no more); random if missing
             * @example hunter22
             */
            vncPassword?: string;
            /** @description An endpoint that is told what becomes of this container; its secret is among the container's credentials */
            webhook?: components["schemas"]["WebhookRequest"];
        };
        Checks: {
            /** @description Whether code-server answers */
            codeServer: boolean;
            /** @description Whether the desktop answers */
            vnc: boolean;
            /** @description Whether a web server of the user's answers */
            webServer: boolean;
        };
        ContainerAnswer: {
            /**
             * Format: date-time
             * @description When it was first asked for
             */
            createdAt: string;
            /** @description Why it failed */
            error?: components["schemas"]["Error"];
            /** @description What the last probe saw */
            health?: components["schemas"]["Health"];
            /**
             * @description It names the container in URLs, host names and calls
             * @example k3xqh5zt2mwfa
             */
            id: string;
            /** @description When it stops for want of use; of a running one */
            idle?: components["schemas"]["IdleAnswer"];
            /**
             * @description What runs
             * @example registry.example.com/ide:3
             */
            image: string;
            /** @description That job, where one container is asked for and the job is still kept */
            job?: components["schemas"]["JobAnswer"];
            /**
             * @description The latest job that changed its state
             * @example container-create:k3xqh5zt2mwfa:1
             */
            jobId?: string;
            /** @description As given with the start */
            labels?: {
                [key: string]: string;
            };
            /**
             * Format: date-time
             * @description When it was last used; idle says how
             */
            lastActivity?: string;
            /** @description The latest save of its workspace that the control plane knows of */
            lastSave?: components["schemas"]["LastSave"];
            /**
             * @description Engine ID of the node it runs on
             * @example x8vlm0vmpo1jg5yk4zo2dgpyh
             */
            node?: string;
            /**
             * @description Name of the API key that started it
             * @example course-1
             */
            owner: string;
            /** @description What it may use at most */
            resourceLimits: components["schemas"]["ResourceLimits"];
            /** @description What it uses, as measured in the last minute; of a live one */
            resourceUsage?: components["schemas"]["ResourceUsage"];
            /**
             * @description Bucket of the workspace
             * @example alice-workspace
             */
            s3Bucket: string;
            /**
             * @description Folder in the bucket
             * @example course-1/alice
             */
            s3Prefix?: string;
            /**
             * @description Region of the bucket
             * @example us-east-1
             */
            s3Region: string;
            /**
             * @description Its Swarm service
             * @example berth-k3xqh5zt2mwfa
             */
            serviceName: string;
            /**
             * @description Why it does not run
             * @enum {string}
             */
            shutdownReason?: "inactivity" | "manual" | "error" | "resource_limit";
            /**
             * Format: date-time
             * @description When it last became running
             */
            startedAt?: string;
            /**
             * @description Its state
             * @enum {string}
             */
            status: "starting" | "running" | "stopping" | "stopped" | "failed";
            /**
             * Format: date-time
             * @description When it was stopped
             */
            stoppedAt?: string;
            /**
             * @description What it was started from
             * @example python
             */
            template?: string;
            /** @description Its node holds files that could not be saved; another start or stop tries again, force or purge gives them up */
            unsaved?: boolean;
            /**
             * Format: int64
             * @description Seconds since it became running
             * @example 3600
             */
            uptime?: number;
            /** @description Where it answers while it runs */
            urls: components["schemas"]["URLs"];
            /**
             * @description The webhook that came with its start
             * @example wq5xqh5zt2mwf
             */
            webhook?: string;
        };
        ContainerCounts: {
            /**
             * Format: int64
             * @description Could not be started, or stopped
             * @example 2
             */
            failed: number;
            /**
             * Format: int64
             * @description Their URLs answer
             * @example 100
             */
            running: number;
            /**
             * Format: int64
             * @description Being started
             * @example 1
             */
            starting: number;
            /**
             * Format: int64
             * @description Can be started again
             * @example 25
             */
            stopped: number;
            /**
             * Format: int64
             * @description Being saved and stopped
             * @example 0
             */
            stopping: number;
            /**
             * Format: int64
             * @description All that have a record
             * @example 128
             */
            total: number;
            /**
             * Format: int64
             * @description Of all these, those whose node holds files that could not be saved
             * @example 1
             */
            unsaved: number;
        };
        ContainerList: {
            /** @description This page, newest first */
            containers: components["schemas"]["ContainerAnswer"][];
            /**
             * Format: int64
             * @description As asked for
             * @example 50
             */
            limit: number;
            /**
             * Format: int64
             * @description As asked for
             * @example 0
             */
            offset: number;
            /**
             * Format: int64
             * @description How many match
             * @example 128
             */
            total: number;
        };
        ContainersActionRequest: {
            /**
             * @description start, stop and restart as for one; delete stops those that run, and drops their records
             * @enum {string}
             */
            action: "start" | "stop" | "restart" | "delete";
            /**
             * @description Containers
             * @example [
             *       "k3xqh5zt2mwfa"
             *     ]
             */
            ids: string[];
        };
        Cores: {
            /**
             * Format: double
             * @description In use, of those there are where it is measured
             * @example 30
             */
            percent: number;
            /**
             * Format: double
             * @description Cores given away: to containers, and to services of others
             * @example 3
             */
            reserved: number;
            /**
             * Format: double
             * @description Cores there are
             * @example 8
             */
            total: number;
            /**
             * Format: double
             * @description Cores in use, as measured
             * @example 2.4
             */
            used: number;
        };
        CreateContainerRequest: {
            /** @description What counts as use, beside typing, input on the desktop and bytes on the web port */
            activity?: components["schemas"]["ActivityRequest"];
            /**
             * @description Credentials for the bucket; prefer a role
             * @example AKIAIOSFODNN7EXAMPLE
             */
            awsAccessKeyId?: string;
            /**
             * @description Goes with awsAccessKeyId
             * @example wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
             */
            awsSecretAccessKey?: string;
            /**
             * Format: int64
             * @description Seconds without use after which it is saved and stopped; 0 is never; the server's default if missing
             * @example 1800
             */
            idleTimeout?: number;
            /**
             * @description Image to run, where the server allows it; the template's if missing
             * @example registry.example.com/ide:3
             */
            image?: string;
            /** @description Your own labels */
            labels?: {
                [key: string]: string;
            };
            /** @description On which node it may run, beside what its template says */
            placement?: components["schemas"]["PlacementInput"];
            /** @description The template's, or else the server's, if missing */
            resources?: components["schemas"]["ResourceRequest"];
            /**
             * @description Bucket of the workspace
             * @example alice-workspace
             */
            s3Bucket: string;
            /**
             * @description Folder in the bucket
             * @example course-1/alice
             */
            s3Prefix?: string;
            /**
             * @description Region of the bucket; the server's default if missing
             * @example us-east-1
             */
            s3Region?: string;
            /**
             * @description One of the server's templates: image, resources, web command and environment; default if missing
             * @example python
             */
            template?: string;
            /**
             * @description Password of the desktop: 6 to 8 visible ASCII characters (VNC knows no more); random if missing
             * @example hunter22
             */
            vncPassword?: string;
            /** @description An endpoint that is told what becomes of this container; its secret is among the container's credentials */
            webhook?: components["schemas"]["WebhookRequest"];
        };
        CredentialsAnswer: {
            /**
             * @description Of code-server
             * @example kVx0c2TzR9bQw1aL
             */
            codeServerPassword: string;
            /**
             * @description Of the desktop
             * @example hunter22
             */
            vncPassword: string;
            /**
             * @description What deliveries to the webhook that came with its start are signed with
             * @example whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
             */
            webhookSecret?: string;
        };
        DeliveryAnswer: {
            /**
             * Format: date-time
             * @description When it happened
             */
            at: string;
            /**
             * Format: int64
             * @description How often it was tried
             * @example 1
             */
            attemptCount: number;
            /** @description The last 20 */
            attempts: components["schemas"]["Attempt"][];
            /**
             * @description The event's place in the stream of events
             * @example 1763987021337-0
             */
            id: string;
            /**
             * @description The webhook-id header, the same for every attempt
             * @example msg_1763987021337_0
             */
            messageId: string;
            /**
             * Format: date-time
             * @description When it is tried, while waiting
             */
            nextAttemptAt?: string;
            /** @description The body that is posted */
            payload: unknown;
            /**
             * @description How far it is
             * @enum {string}
             */
            status: "waiting" | "delivered" | "failed";
            /**
             * @description What happened
             * @example container.running
             */
            type: string;
        };
        DeliveryList: {
            /** @description This page, newest first */
            deliveries: components["schemas"]["DeliveryAnswer"][];
            /**
             * Format: int64
             * @description As asked for
             * @example 50
             */
            limit: number;
            /**
             * Format: int64
             * @description As asked for
             * @example 0
             */
            offset: number;
            /**
             * Format: int64
             * @description How many match
             * @example 128
             */
            total: number;
        };
        Envelope: {
            /** @description What went wrong */
            error: components["schemas"]["Error"];
            /**
             * @description Path of the request
             * @example /api/containers/start
             */
            path: string;
            /**
             * Format: date-time
             * @description When
             */
            timestamp: string;
        };
        Error: {
            /**
             * @description The error's name, for programs
             * @example CONTAINER_NOT_FOUND
             */
            code: string;
            /** @description What else is known, by code */
            details?: unknown;
            /**
             * @description One sentence, for people
             * @example There is no container k3xqh5zt2mwfa.
             */
            message: string;
        };
        EventAnswer: {
            /**
             * Format: date-time
             * @description When
             */
            at: string;
            /**
             * @description Name of an API key, or the function that did it
             * @example course-1
             */
            by?: string;
            /**
             * @description What it happened to
             * @example k3xqh5zt2mwfa
             */
            containerId?: string;
            /**
             * @description Place in the stream of events
             * @example 1772366400000-0
             */
            id: string;
            /**
             * @description The job that did it
             * @example container-create:k3xqh5zt2mwfa:1
             */
            jobId?: string;
            /**
             * @description Last lines of a program that ended, oldest first
             * @example [
             *       "panic: runtime error"
             *     ]
             */
            log?: string[];
            /**
             * @description A sentence for people
             * @example The URLs answer.
             */
            message?: string;
            /**
             * @description The node it is about
             * @example x8vlm0vmpo1jg5yk4zo2dgpyh
             */
            nodeId?: string;
            /** @description On what a decision for want of use rests */
            receipt?: components["schemas"]["Receipt"];
            /**
             * @description What happened
             * @example container.running
             */
            type: string;
        };
        EventList: {
            /** @description What happened, oldest first */
            events: components["schemas"]["EventAnswer"][];
        };
        Failure: {
            /**
             * Format: date-time
             * @description When it was last seen
             */
            at: string;
            /**
             * @description The error's name, for programs
             * @example INVALID_S3_BUCKET
             */
            code: string;
            /**
             * @description One sentence, for people
             * @example The bucket cannot be written to.
             */
            message: string;
            /** @description Trying again cannot help */
            permanent?: boolean;
        };
        Generation: {
            /**
             * Format: date-time
             * @description When it was saved, by the store's clock
             */
            at: string;
            /**
             * Format: int64
             * @description Their bytes
             * @example 104857600
             */
            bytes: number;
            /**
             * Format: int64
             * @description Files in it
             * @example 2003
             */
            files: number;
            /**
             * Format: int64
             * @description Its number in the bucket
             * @example 12
             */
            generation: number;
        };
        GenerationList: {
            /** @description Newest first */
            generations: components["schemas"]["Generation"][];
        };
        Health: {
            /** @description What answered */
            checks: components["schemas"]["Checks"];
            /**
             * Format: date-time
             * @description When the container was last probed
             */
            lastCheck: string;
            /**
             * @description healthy, unhealthy or starting
             * @enum {string}
             */
            status: "healthy" | "unhealthy" | "starting";
        };
        HookContainer: {
            /**
             * Format: date-time
             * @description When it was first asked for
             */
            createdAt: string;
            /** @description Why it failed */
            error?: components["schemas"]["Error"];
            /**
             * @description The container
             * @example k3xqh5zt2mwfa
             */
            id: string;
            /**
             * @description The latest job that changed its state
             * @example container-create:k3xqh5zt2mwfa:1
             */
            jobId?: string;
            /** @description As given with the start */
            labels?: {
                [key: string]: string;
            };
            /**
             * @description Engine ID of its node
             * @example x8vlm0vmpo1jg5yk4zo2dgpyh
             */
            node?: string;
            /**
             * @description Name of the API key that started it
             * @example course-1
             */
            owner: string;
            /**
             * @description Bucket of the workspace
             * @example alice-workspace
             */
            s3Bucket: string;
            /**
             * @description Folder in the bucket
             * @example course-1/alice
             */
            s3Prefix?: string;
            /**
             * @description Why it does not run
             * @enum {string}
             */
            shutdownReason?: "inactivity" | "manual" | "error" | "resource_limit";
            /**
             * Format: date-time
             * @description When it last became running
             */
            startedAt?: string;
            /**
             * @description Its state
             * @enum {string}
             */
            status: "starting" | "running" | "stopping" | "stopped" | "failed";
            /**
             * Format: date-time
             * @description When it was stopped
             */
            stoppedAt?: string;
            /** @description Its node holds files that could not be saved */
            unsaved?: boolean;
            /** @description Where it answers while it runs */
            urls: components["schemas"]["URLs"];
        };
        HookJob: {
            /**
             * Format: int64
             * @description How often it began
             * @example 1
             */
            attempt: number;
            /**
             * @description What it was done to
             * @example k3xqh5zt2mwfa
             */
            containerId?: string;
            /** @description Why it failed */
            error?: components["schemas"]["Error"];
            /**
             * Format: date-time
             * @description When it ended
             */
            finishedAt?: string;
            /**
             * @description What was done
             * @example container-create
             */
            function: string;
            /**
             * @description function:container:number
             * @example container-create:k3xqh5zt2mwfa:1
             */
            id: string;
            /**
             * @description Name of the API key that asked for it
             * @example course-1
             */
            owner?: string;
            /**
             * Format: date-time
             * @description When it was asked for
             */
            queuedAt: string;
            /**
             * @description How it ended
             * @enum {string}
             */
            status: "succeeded" | "failed";
        };
        HookNode: {
            /**
             * @description Whether tasks may be put on it
             * @example active
             */
            availability: string;
            /**
             * @description Its name
             * @example node-1
             */
            hostname: string;
            /**
             * @description Engine ID
             * @example x8vlm0vmpo1jg5yk4zo2dgpyh
             */
            id: string;
            /**
             * @description Of node.pressure: what it is short of (cpu, memory, disk); missing once that is over
             * @example [
             *       "memory"
             *     ]
             */
            pressure?: string[];
            /**
             * @description What Swarm says of it
             * @example down
             */
            state: string;
        };
        IdleAnswer: {
            /**
             * Format: date-time
             * @description It is kept alive until then
             */
            keepUntil?: string;
            /**
             * Format: date-time
             * @description When it was last used
             */
            lastActivity?: string;
            /**
             * @description inactivity, or resource_limit at the end of its lifetime, which nothing puts off
             * @enum {string}
             */
            reason?: "inactivity" | "resource_limit";
            /**
             * @description Who has seen it
             * @enum {string}
             */
            signal?: "record" | "agent" | "gateway";
            /**
             * @description What was used then
             * @enum {string}
             */
            source?: "start" | "editor" | "desktop" | "web" | "cpu" | "traffic";
            /**
             * Format: date-time
             * @description When it stops unless it is used or kept alive; missing is never
             */
            stopsAt?: string;
            /**
             * Format: int64
             * @description Seconds without use after which it stops; 0 is never
             * @example 1800
             */
            timeout: number;
            /** @description Its users were warned */
            warned?: boolean;
        };
        Item: {
            /** @description Why it failed */
            error?: components["schemas"]["Error"];
            /**
             * @description The container
             * @example k3xqh5zt2mwfa
             */
            id: string;
            /**
             * @description The job that does it; missing where it was refused, or there was nothing to do
             * @example container-stop:k3xqh5zt2mwfa:2
             */
            jobId?: string;
            /**
             * @description How far it is
             * @enum {string}
             */
            status: "queued" | "running" | "retrying" | "succeeded" | "failed" | "canceled";
        };
        JobAnswer: {
            /**
             * Format: int64
             * @description How often it has begun
             * @example 1
             */
            attempt: number;
            /**
             * @description What it is done to
             * @example k3xqh5zt2mwfa
             */
            containerId?: string;
            /** @description Why it failed, or why the last attempt did */
            error: components["schemas"]["Error"] | null;
            /**
             * Format: date-time
             * @description When it ended
             */
            finishedAt: string | null;
            /**
             * @description What is done
             * @example container-create
             */
            function: string;
            /**
             * @description function:container:number
             * @example container-create:k3xqh5zt2mwfa:1
             */
            id: string;
            /**
             * Format: date-time
             * @description The instant of its schedule that it is of
             */
            instant?: string;
            /** @description Of a job about several containers: what has become of each, in the order that was asked for */
            items?: components["schemas"]["Item"][];
            /** @description Where to go on */
            links: components["schemas"]["Links"];
            /**
             * Format: int64
             * @description How often it may begin
             * @example 12
             */
            maxAttempts: number;
            /**
             * Format: date-time
             * @description When it is tried again, while retrying
             */
            nextAttemptAt: string | null;
            /**
             * @description The node it is about, by its engine ID
             * @example x8vlm0vmpo1jg5yk4zo2dgpyh
             */
            nodeId?: string;
            /**
             * @description Name of the API key that asked for it
             * @example course-1
             */
            owner?: string;
            /**
             * Format: date-time
             * @description When it was asked for
             */
            queuedAt: string;
            /** @description What it has found, by function */
            result: {
                [key: string]: unknown;
            } | null;
            /**
             * Format: date-time
             * @description When it first began
             */
            startedAt: string | null;
            /**
             * @description queued, running and retrying are open; the others are its end
             * @enum {string}
             */
            status: "queued" | "running" | "retrying" | "succeeded" | "failed" | "canceled";
            /** @description Its timeline, over all attempts */
            steps: components["schemas"]["Step"][];
            /**
             * @description W3C trace context of the request that asked for it, where the server keeps traces
             * @example 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
             */
            trace?: string;
        };
        JobCounts: {
            /**
             * Format: int64
             * @description Wait for a worker
             * @example 3
             */
            queued: number;
            /**
             * Format: int64
             * @description Failed, and are tried again
             * @example 0
             */
            retrying: number;
            /**
             * Format: int64
             * @description A worker is at them
             * @example 2
             */
            running: number;
            /**
             * Format: double
             * @description Seconds for which the oldest of the queued ones has waited; 0 without one
             * @example 0.4
             */
            waited: number;
        };
        JobList: {
            /** @description This page, newest first */
            jobs: components["schemas"]["JobAnswer"][];
            /**
             * Format: int64
             * @description As asked for
             * @example 50
             */
            limit: number;
            /**
             * Format: int64
             * @description As asked for
             * @example 0
             */
            offset: number;
            /**
             * Format: int64
             * @description How many match
             * @example 128
             */
            total: number;
        };
        JoinAnswer: {
            /**
             * @description To be run on the machine
             * @example docker swarm join --token SWMTKN-1-49nj1cmql0jkz5s954yi3oex3nedyz0fb0xx14ie39trti4wxv-8vxv8rssmk743ojnwacrr2e7c 192.0.2.11:2377
             */
            command: string;
            /**
             * @description What the machine becomes
             * @enum {string}
             */
            role: "worker" | "manager";
            /**
             * @description Lets any machine in that has it: a secret
             * @example SWMTKN-1-49nj1cmql0jkz5s954yi3oex3nedyz0fb0xx14ie39trti4wxv-8vxv8rssmk743ojnwacrr2e7c
             */
            token: string;
        };
        KeepaliveInputBody: {
            /**
             * Format: date-time
             * @description Until when; its idle timeout from now if missing
             * @example 2030-01-02T15:04:05Z
             */
            until?: string;
        };
        KeyAnswer: {
            /**
             * @description Patterns of buckets that it may use, with * and ?; any if missing
             * @example [
             *       "course-1-*"
             *     ]
             */
            buckets?: string[];
            /**
             * Format: date-time
             * @description When it was made
             */
            createdAt?: string;
            /**
             * @description Name of the key that made it
             * @example admin
             */
            createdBy?: string;
            /**
             * Format: date-time
             * @description When it last came with a request, to 10 seconds
             */
            lastUsed?: string;
            /**
             * Format: int64
             * @description Live containers; the server's limit if missing
             * @example 20
             */
            maxContainers?: number;
            /**
             * @description It owns what the key makes
             * @example course-1
             */
            name: string;
            /**
             * Format: int64
             * @description Requests a minute; the server's limit if missing
             * @example 300
             */
            rateLimit?: number;
            /**
             * @description admin sees and does all, client its own, viewer sees all and changes nothing
             * @enum {string}
             */
            role: "admin" | "client" | "viewer";
            /**
             * @description environment: set by the operator, and removed there
             * @enum {string}
             */
            source: "environment" | "api";
        };
        KeyList: {
            /** @description Those of the environment, then those made at run time, by name */
            keys: components["schemas"]["KeyAnswer"][];
        };
        LastSave: {
            /**
             * Format: date-time
             * @description When the save began
             */
            at: string;
            /**
             * Format: int64
             * @description Their bytes
             * @example 104857600
             */
            bytes: number;
            /** @description Why saves after it have failed */
            error?: components["schemas"]["Failure"];
            /**
             * Format: int64
             * @description Files in the workspace
             * @example 2003
             */
            files: number;
            /**
             * Format: int64
             * @description Number of the generation in the bucket; 0 is an empty workspace that was never saved
             * @example 17
             */
            generation: number;
            /**
             * Format: int64
             * @description Paths that .berthignore names and that are not in it; a folder counts once
             * @example 2
             */
            ignored?: number;
            /**
             * Format: int64
             * @description Their bytes, counted by the last save of a stop
             * @example 734003200
             */
            ignoredBytes?: number;
            /**
             * Format: int64
             * @description Files, folders and links that are not in it, or not in their newest state: their bytes are on the volume only, which a stop keeps. An event names them
             * @example 1
             */
            leftOut?: number;
            /**
             * Format: int64
             * @description Files in berth-recovered, which gave way to newer ones when the workspace was restored
             * @example 3
             */
            recovered?: number;
            /**
             * Format: double
             * @description How long the save took
             * @example 2.9
             */
            seconds: number;
            /** @description The control plane has seen every object of it with its own client */
            verified: boolean;
        };
        Links: {
            /**
             * @description Its container
             * @example /api/containers/k3xqh5zt2mwfa
             */
            container?: string;
            /**
             * @description The job
             * @example /api/jobs/container-create:k3xqh5zt2mwfa:1
             */
            self: string;
        };
        Mark: {
            /**
             * Format: double
             * @description The high-water mark, in percent
             * @example 90
             */
            mark: number;
            /**
             * Format: double
             * @description In use; of CPU over the last five minutes
             * @example 93
             */
            percent: number;
            /**
             * @description What
             * @enum {string}
             */
            resource: "cpu" | "memory" | "disk";
            /**
             * Format: date-time
             * @description Since when it is above
             */
            since: string;
        };
        MoveRequest: {
            /**
             * @description Engine ID or name of the node to move to; another one with room if missing
             * @example x8vlm0vmpo1jg5yk4zo2dgpyh
             */
            node?: string;
        };
        NewKeyAnswer: {
            /**
             * @description Patterns of buckets that it may use, with * and ?; any if missing
             * @example [
             *       "course-1-*"
             *     ]
             */
            buckets?: string[];
            /**
             * Format: date-time
             * @description When it was made
             */
            createdAt?: string;
            /**
             * @description Name of the key that made it
             * @example admin
             */
            createdBy?: string;
            /**
             * @description The secret; it is not shown again
             * @example berth_0123456789abcdefghijklmnopqrstuvwxyzABCD
             */
            key: string;
            /**
             * Format: date-time
             * @description When it last came with a request, to 10 seconds
             */
            lastUsed?: string;
            /**
             * Format: int64
             * @description Live containers; the server's limit if missing
             * @example 20
             */
            maxContainers?: number;
            /**
             * @description It owns what the key makes
             * @example course-1
             */
            name: string;
            /**
             * Format: int64
             * @description Requests a minute; the server's limit if missing
             * @example 300
             */
            rateLimit?: number;
            /**
             * @description admin sees and does all, client its own, viewer sees all and changes nothing
             * @enum {string}
             */
            role: "admin" | "client" | "viewer";
            /**
             * @description environment: set by the operator, and removed there
             * @enum {string}
             */
            source: "environment" | "api";
        };
        NewKeyRequest: {
            /**
             * @description Patterns of buckets that it may use, with * and ?; any if missing
             * @example [
             *       "course-1-*"
             *     ]
             */
            buckets?: string[];
            /**
             * Format: int64
             * @description Live containers; the server's limit if missing
             * @example 20
             */
            maxContainers?: number;
            /**
             * @description Stable name: it owns what the key makes
             * @example course-1
             */
            name: string;
            /**
             * Format: int64
             * @description Requests a minute; the server's limit if missing
             * @example 300
             */
            rateLimit?: number;
            /**
             * @description admin sees and does all, client its own, viewer sees all and changes nothing
             * @enum {string}
             */
            role: "admin" | "client" | "viewer";
        };
        NewWebhookAnswer: {
            /** @description It is an admin's: it hears of every key's containers and jobs, and of nodes */
            all: boolean;
            /**
             * @description The container with whose start it came; it hears of that one only
             * @example k3xqh5zt2mwfa
             */
            containerId?: string;
            /**
             * Format: date-time
             * @description When it was made
             */
            createdAt: string;
            /**
             * Format: date-time
             * @description It is told nothing more since
             */
            disabledAt?: string;
            /**
             * @description Why
             * @example The endpoint answered 410 Gone.
             */
            disabledReason?: string;
            /**
             * Format: int64
             * @description Events that it was not told of because 5,000 were waiting
             * @example 12
             */
            dropped?: number;
            /**
             * @description Types of event that it is told of; all if empty
             * @example [
             *       "container.running"
             *     ]
             */
            events: string[];
            /**
             * Format: date-time
             * @description The first of them
             */
            failingSince?: string;
            /**
             * Format: int64
             * @description Failed attempts in a row
             * @example 3
             */
            failures?: number;
            /**
             * @description It names the webhook in calls
             * @example wq5xqh5zt2mwf
             */
            id: string;
            /**
             * Format: date-time
             * @description When an event was last taken
             */
            lastDelivered?: string;
            /**
             * Format: date-time
             * @description A replaced secret signs beside the present one so long
             */
            oldSecretsUntil?: string;
            /**
             * @description Name of the API key that made it
             * @example course-1
             */
            owner: string;
            /**
             * @description What deliveries are signed with; it is not shown again
             * @example whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
             */
            secret: string;
            /**
             * @description Where events are posted
             * @example https://hooks.example.org/berth
             */
            url: string;
            /**
             * Format: int64
             * @description Deliveries that are not done
             * @example 0
             */
            waiting: number;
        };
        NodeCheck: {
            /** @description Whether the container would fit */
            fits: boolean;
            /**
             * Format: double
             * @description Cores
             * @example 3.5
             */
            freeCpu: number;
            /**
             * Format: int64
             * @description Bytes
             * @example 6442450944
             */
            freeMemory: number;
            /**
             * @description Its name
             * @example node-1
             */
            hostname: string;
            /**
             * @description Engine ID
             * @example x8vlm0vmpo1jg5yk4zo2dgpyh
             */
            id: string;
            /**
             * @description Whether it has the image
             * @enum {string}
             */
            imageFound: "present" | "absent" | "unknown";
            /**
             * @description Why not, in a sentence
             * @example 0.25 CPU is needed.
             */
            why?: string;
        };
        NodeCounts: {
            /**
             * Format: int64
             * @description Are above a high-water mark
             * @example 0
             */
            above: number;
            /**
             * Format: int64
             * @description Do not
             * @example 0
             */
            down: number;
            /**
             * Format: int64
             * @description Are set to take no tasks: drain or pause
             * @example 0
             */
            draining: number;
            /**
             * Format: int64
             * @description Can be given containers now
             * @example 3
             */
            placeable: number;
            /**
             * Format: int64
             * @description Answer Swarm
             * @example 3
             */
            ready: number;
            /**
             * Format: int64
             * @description Their worker does not report
             * @example 0
             */
            stale: number;
            /**
             * Format: int64
             * @description In the Swarm
             * @example 3
             */
            total: number;
        };
        NodeLabels: {
            /**
             * @description All labels that the node is to have; those that are not named go
             * @example {
             *       "gpu": "true"
             *     }
             */
            labels: {
                [key: string]: string;
            };
        };
        NodeList: {
            /** @description Of the containers' network; missing before a manager has counted them */
            addresses?: components["schemas"]["AddressAnswer"];
            /** @description By host name */
            nodes: components["schemas"]["NodeRow"][];
        };
        NodePoint: {
            /**
             * Format: date-time
             * @description Beginning of the step
             */
            at: string;
            /**
             * Format: double
             * @description Percent of its cores
             * @example 30.2
             */
            cpu: number;
            /**
             * Format: double
             * @description Percent of the disk of its engine
             * @example 48.5
             */
            disk: number;
            /**
             * Format: double
             * @description Average over 1 minute
             * @example 2.1
             */
            load: number;
            /**
             * Format: double
             * @description Percent
             * @example 61.4
             */
            memory: number;
            /** @description Over all its devices that are no virtual ones */
            network: components["schemas"]["Traffic"];
            /**
             * Format: int64
             * @description How many nodes this is of
             * @example 1
             */
            nodes: number;
            /** @description For which part something waited for a resource (PSI); 0 where its kernel does not tell */
            stall: components["schemas"]["Stall"];
        };
        NodeRow: {
            /** @description What is above its high-water mark: while there is something, nothing is put there */
            above: components["schemas"]["Mark"][];
            /**
             * @description Where Swarm reaches it
             * @example 192.0.2.11
             */
            address: string;
            /**
             * @description Whether Swarm may put tasks on it
             * @enum {string}
             */
            availability: "active" | "pause" | "drain";
            /**
             * Format: int64
             * @description Containers that hold a place there
             * @example 12
             */
            containers: number;
            /** @description Its CPU */
            cpu: components["schemas"]["Cores"];
            /** @description The file system of its engine's data directory */
            disk: components["schemas"]["Bytes"];
            /**
             * @description Version of its engine
             * @example 28.3.0
             */
            engine: string;
            /**
             * Format: int64
             * @description Addresses left for containers; the network that they are of is shared by all nodes
             * @example 65100
             */
            freeAddresses: number;
            /**
             * Format: double
             * @description Cores that can still be reserved
             * @example 5
             */
            freeCpu: number;
            /**
             * @description Of those, what can still be reserved
             * @example {
             *       "gpu": 1
             *     }
             */
            freeGeneric?: {
                [key: string]: number;
            };
            /**
             * Format: int64
             * @description Bytes that can still be reserved
             * @example 12884901888
             */
            freeMemory: number;
            /**
             * @description Other resources that its engine announces, by kind
             * @example {
             *       "gpu": 2
             *     }
             */
            generic?: {
                [key: string]: number;
            };
            /**
             * @description Its name
             * @example node-1
             */
            hostname: string;
            /**
             * @description Engine ID
             * @example x8vlm0vmpo1jg5yk4zo2dgpyh
             */
            id: string;
            /** @description Whether its isolation filter stands, or isolation is off */
            isolated: boolean;
            /** @description Its labels in the Swarm */
            labels?: {
                [key: string]: string;
            };
            /**
             * Format: date-time
             * @description When its worker last reported; missing if it has not within a day
             */
            lastReport?: string;
            /**
             * @description Average load over 1, 5 and 15 minutes; empty before its worker has reported
             * @example [
             *       2.1,
             *       1.8,
             *       1.5
             *     ]
             */
            load: number[];
            /** @description Its memory */
            memory: components["schemas"]["Bytes"];
            /**
             * @description Images that it waits for before it takes its first container; they are brought from a registry or another node
             * @example [
             *       "registry.example.com/ide:3"
             *     ]
             */
            missingImages?: string[];
            /** @description Over all its devices that are no virtual ones */
            network: components["schemas"]["Traffic"];
            /** @description Whether containers may be put there now */
            placeable: boolean;
            /**
             * @description In the Swarm
             * @enum {string}
             */
            role: "manager" | "worker";
            /**
             * Format: int64
             * @description Containers of Berth that its worker has counted
             * @example 11
             */
            running: number;
            /** @description Its worker has not reported in the last 30 seconds: what was measured is old, or missing */
            stale: boolean;
            /** @description For which part of the last 10 seconds something waited for a resource (PSI); missing where its kernel does not tell */
            stall?: components["schemas"]["Stall"];
            /**
             * @description What Swarm says of it
             * @enum {string}
             */
            state: "ready" | "down" | "unknown" | "disconnected";
            /**
             * @description Of its engine; missing before its worker has reported
             * @example overlay2
             */
            storageDriver?: string;
            /**
             * @description Why not, in a sentence
             * @example It has joined and waits for the image registry.example.com/ide:3.
             */
            why?: string;
        };
        NodeUsage: {
            /** @description Oldest first; a time in which nothing was measured has none */
            points: components["schemas"]["NodePoint"][];
            /**
             * Format: int64
             * @description Seconds between two points
             * @example 10
             */
            step: number;
        };
        Overview: {
            /** @description The 20 running containers that use most CPU */
            active: components["schemas"]["ContainerAnswer"][];
            /** @description Of the containers' network; missing before a manager has counted them */
            addresses?: components["schemas"]["AddressAnswer"];
            /**
             * Format: date-time
             * @description When it was read
             */
            at: string;
            /** @description What somebody should look at */
            attention: components["schemas"]["Attention"][];
            /** @description Containers by state */
            containers: components["schemas"]["ContainerCounts"];
            /** @description Of all nodes */
            cpu: components["schemas"]["Cores"];
            /** @description The file systems of the engines' data directories, of all nodes */
            disk: components["schemas"]["Bytes"];
            /** @description Jobs that have not ended, by state */
            jobs: components["schemas"]["JobCounts"];
            /** @description Of all nodes */
            memory: components["schemas"]["Bytes"];
            /** @description Nodes by what they are like; one may be counted several times */
            nodeCounts: components["schemas"]["NodeCounts"];
            /** @description By host name */
            nodes: components["schemas"]["NodeRow"][];
            /** @description The Redis in use */
            redis: components["schemas"]["RedisAnswer"];
        };
        Pause: {
            /**
             * Format: date-time
             * @description Since when
             */
            at: string;
            /**
             * @description Name of the API key that paused it
             * @example admin
             */
            by: string;
        };
        Payload: {
            /** @description What it happened to */
            data: components["schemas"]["PayloadData"];
            /**
             * Format: date-time
             * @description When it happened
             */
            timestamp: string;
            /**
             * @description What happened
             * @example container.running
             */
            type: string;
        };
        PayloadData: {
            /**
             * @description Name of an API key, or the function that did it
             * @example course-1
             */
            by?: string;
            /** @description Of events about a container */
            container?: components["schemas"]["HookContainer"];
            /** @description Of events about a job */
            job?: components["schemas"]["HookJob"];
            /**
             * @description What happened, for people
             * @example The URLs answer.
             */
            message?: string;
            /** @description Of events about a node */
            node?: components["schemas"]["HookNode"];
        };
        Placement: {
            /**
             * @description Conditions on the node's labels, with == or !=, all of which must hold; those of the template do, too
             * @example [
             *       "node.labels.gpu==true"
             *     ]
             */
            constraints?: string[];
            /**
             * @description Other resources that it reserves, of those that nodes announce, as KIND=NUMBER
             * @example [
             *       "gpu=1"
             *     ]
             */
            generic?: string[];
            /**
             * @description spread takes the emptiest node that fits, pack the fullest; the template's, or else the server's, if missing
             * @example pack
             * @enum {string}
             */
            strategy?: "spread" | "pack";
        };
        PlacementInput: {
            /**
             * @description Conditions on the node's labels, with == or !=, all of which must hold; those of the template do, too
             * @example [
             *       "node.labels.gpu==true"
             *     ]
             */
            constraints?: string[];
            /**
             * @description Other resources that it reserves, of those that nodes announce, as KIND=NUMBER
             * @example [
             *       "gpu=1"
             *     ]
             */
            generic?: string[];
            /**
             * @description spread takes the emptiest node that fits, pack the fullest; the template's, or else the server's, if missing
             * @example pack
             * @enum {string}
             */
            strategy?: "spread" | "pack";
        };
        Receipt: {
            /**
             * Format: date-time
             * @description When it was last used
             */
            lastActivity?: string;
            /**
             * @description inactivity, or resource_limit at the end of its lifetime
             * @enum {string}
             */
            reason: "inactivity" | "resource_limit";
            /**
             * @description Who has seen it
             * @enum {string}
             */
            signal?: "record" | "agent" | "gateway";
            /**
             * @description What was used then
             * @enum {string}
             */
            source?: "start" | "editor" | "desktop" | "web" | "cpu" | "traffic";
            /**
             * Format: date-time
             * @description When it stops unless it is used or kept alive
             */
            stopsAt?: string;
        };
        RedisAnswer: {
            /**
             * Format: int64
             * @description Bytes it may use; 0 is any number
             * @example 1073741824
             */
            maxMemory: number;
            /**
             * @description What it does at that limit; anything but noeviction loses jobs and records
             * @example noeviction
             */
            policy?: string;
            /**
             * Format: int64
             * @description Bytes
             * @example 73400320
             */
            usedMemory: number;
        };
        ResourceLimits: {
            /**
             * @description Cores
             * @example 2
             */
            cpuLimit: string;
            /**
             * @description Bytes, in binary units
             * @example 4GiB
             */
            memoryLimit: string;
        };
        ResourceRequest: {
            /**
             * Format: double
             * @description Cores
             * @example 2
             */
            cpuLimit?: number;
            /**
             * @description Bytes, with k, m or g
             * @example 4g
             */
            memoryLimit?: string;
        };
        ResourceUsage: {
            /**
             * Format: date-time
             * @description When it was measured
             */
            at: string;
            /**
             * Format: double
             * @description Bytes a second read from disks
             * @example 0
             */
            blockRead: number;
            /**
             * Format: double
             * @description Bytes a second written to disks
             * @example 8192
             */
            blockWrite: number;
            /**
             * Format: double
             * @description Cores
             * @example 0.85
             */
            cores: number;
            /**
             * Format: double
             * @description Percent of its CPU limit
             * @example 42.5
             */
            cpu: number;
            /**
             * Format: int64
             * @description Bytes, without what the kernel can drop of its file cache
             * @example 734003200
             */
            memory: number;
            /**
             * Format: double
             * @description Percent of its memory limit
             * @example 17.1
             */
            memoryPercent: number;
            /** @description Its network traffic */
            network: components["schemas"]["Traffic"];
            /**
             * Format: int64
             * @description Processes and threads
             * @example 48
             */
            pids: number;
            /**
             * Format: date-time
             * @description Since when it is at its CPU limit without a break
             */
            pinnedSince?: string;
            /**
             * Format: int64
             * @description How often Swarm has started its program again, in this run
             * @example 0
             */
            restarts: number;
        };
        RestoreRequest: {
            /**
             * Format: int64
             * @description One of the kept generations of its workspace
             * @example 12
             */
            generation: number;
        };
        Schedule: {
            /**
             * @description Five fields in UTC, or an interval that is counted from the same time everywhere
             * @example @every 15s
             */
            cron: string;
            /**
             * @description What it does
             * @example Stop containers that are not used
             */
            description: string;
            /**
             * @description What runs
             * @example sweep-idle
             */
            function: string;
            /**
             * Format: date-time
             * @description Its last instant that had a run
             */
            last?: string;
            /** @description Its newest job, also one that was asked for, as long as it is remembered */
            lastJob?: components["schemas"]["JobAnswer"];
            /**
             * @description It names the schedule in calls
             * @example idle-sweep
             */
            name: string;
            /**
             * Format: date-time
             * @description Its next instant; missing while it is paused
             */
            next?: string;
            /** @description Since when it rests, and by whom; missing while it does not */
            paused?: components["schemas"]["Pause"];
        };
        ScheduleList: {
            /** @description By function */
            schedules: components["schemas"]["Schedule"][];
        };
        SessionAnswer: {
            /**
             * Format: date-time
             * @description When the session ends; missing for a call with a key
             */
            expiresAt?: string;
            /**
             * @description Name of the API key
             * @example course-1
             */
            name: string;
            /** @description The caller may open /dashboard/queues */
            queueAdmin: boolean;
            /**
             * @description admin sees and does all, client its own, viewer sees all and changes nothing
             * @enum {string}
             */
            role: "admin" | "client" | "viewer";
            /**
             * @description Of the control plane
             * @example v1.4.0
             */
            version: string;
        };
        SessionRequest: {
            /**
             * @description An API key
             * @example berth_0123456789abcdefghijklmnopqrstuvwxyzABCD
             */
            key: string;
        };
        Stall: {
            /**
             * Format: double
             * @description Percent
             * @example 1.5
             */
            cpu: number;
            /**
             * Format: double
             * @description Percent
             * @example 0.4
             */
            io: number;
            /**
             * Format: double
             * @description Percent
             * @example 0
             */
            memory: number;
        };
        StartAnswer: {
            /**
             * @description The container
             * @example k3xqh5zt2mwfa
             */
            id: string;
            /** @description What starts it */
            job: components["schemas"]["JobAnswer"];
            /**
             * @description A sentence for people
             * @example The container is starting.
             */
            message: string;
            /**
             * @description Its Swarm service
             * @example berth-k3xqh5zt2mwfa
             */
            serviceName: string;
            /**
             * @description Its state
             * @example starting
             * @enum {string}
             */
            status: "starting" | "running" | "stopping" | "stopped" | "failed";
            /** @description Where it will answer */
            urls: components["schemas"]["URLs"];
        };
        Step: {
            /**
             * Format: int64
             * @description In which attempt it ran
             * @example 1
             */
            attempt: number;
            /**
             * @description How far it is, or why it failed
             * @example The task is preparing.
             */
            message?: string;
            /**
             * @description What the step does; queue is the wait for a worker
             * @example service
             */
            name: string;
            /**
             * Format: double
             * @description How long it took, once it is over
             * @example 0.031
             */
            seconds?: number;
            /**
             * Format: date-time
             * @description When it began
             */
            startedAt: string;
            /**
             * @description How far it is
             * @enum {string}
             */
            status: "running" | "done" | "failed";
        };
        SystemHealth: {
            /** @description redis, swarm, workers */
            checks: {
                [key: string]: components["schemas"]["Check"];
            };
            /**
             * @description What a crash of Redis may cost: aof, external, or snapshot (up to 30 seconds)
             * @example aof
             */
            durability: string;
            /**
             * @description Whether containers are kept from reaching each other
             * @enum {string}
             */
            isolation: "on" | "off";
            /**
             * @description degraded when a check fails
             * @enum {string}
             */
            status: "ok" | "degraded";
            /**
             * Format: int64
             * @description Seconds since this process started
             * @example 86400
             */
            uptime: number;
            /**
             * @description Of this process
             * @example 1.0.0
             */
            version: string;
            /**
             * @description single-writer: S3_SINGLE_WRITER is set, so nothing keeps two containers of one bucket and prefix from overwriting each other's saves; off: workspaces are kept nowhere
             * @enum {string}
             */
            workspaces: "kept" | "single-writer" | "off";
        };
        TemplateAnswer: {
            /**
             * Format: double
             * @description Cores, unless a start asks for others
             * @example 2
             */
            cpuLimit: number;
            /**
             * @description What it is
             * @example default with pip, venv and IPython
             */
            description?: string;
            /**
             * @description Names of the variables that it sets
             * @example [
             *       "PYTHONUNBUFFERED"
             *     ]
             */
            environment?: string[];
            /**
             * @description What runs
             * @example registry.example.com/ide-python:3
             */
            image: string;
            /**
             * @description present: some node has the image; absent: none has, so that it is pulled at the first start; unknown: no worker has reported
             * @enum {string}
             */
            imageFound: "present" | "absent" | "unknown";
            /**
             * Format: int64
             * @description Bytes, unless a start asks for others
             * @example 4294967296
             */
            memoryLimit: number;
            /**
             * @description It is the start's template
             * @example python
             */
            name: string;
            /** @description On which nodes it is put */
            placement?: components["schemas"]["Placement"];
            /**
             * @description Starts the user's web server
             * @example npm run dev
             */
            webCommand?: string;
        };
        TemplateList: {
            /** @description As the server's file has them */
            templates: components["schemas"]["TemplateAnswer"][];
        };
        Traffic: {
            /**
             * Format: double
             * @description Bytes a second received
             * @example 125000
             */
            in: number;
            /**
             * Format: double
             * @description Bytes a second sent
             * @example 48000
             */
            out: number;
        };
        URLs: {
            /**
             * @description code-server
             * @example https://k3xqh5zt2mwfa-code.ide.example.com
             */
            codeServer: string;
            /**
             * @description Desktop, in the browser
             * @example https://k3xqh5zt2mwfa-vnc.ide.example.com
             */
            vnc: string;
            /**
             * @description The user's own web server
             * @example https://k3xqh5zt2mwfa-web.ide.example.com
             */
            webServer: string;
        };
        Usage: {
            /** @description Oldest first; a time in which nothing was measured has none */
            points: components["schemas"]["UsagePoint"][];
            /**
             * Format: int64
             * @description Seconds between two points
             * @example 10
             */
            step: number;
        };
        UsagePoint: {
            /**
             * Format: date-time
             * @description Beginning of the step
             */
            at: string;
            /**
             * Format: double
             * @description Bytes a second read from disks and written to them
             * @example 8192
             */
            block: number;
            /**
             * Format: double
             * @description Percent of its CPU limit
             * @example 42.5
             */
            cpu: number;
            /**
             * Format: int64
             * @description Bytes
             * @example 734003200
             */
            memory: number;
            /**
             * Format: double
             * @description Percent of its memory limit
             * @example 17.1
             */
            memoryPercent: number;
            /** @description Its network traffic */
            network: components["schemas"]["Traffic"];
        };
        WebhookAnswer: {
            /** @description It is an admin's: it hears of every key's containers and jobs, and of nodes */
            all: boolean;
            /**
             * @description The container with whose start it came; it hears of that one only
             * @example k3xqh5zt2mwfa
             */
            containerId?: string;
            /**
             * Format: date-time
             * @description When it was made
             */
            createdAt: string;
            /**
             * Format: date-time
             * @description It is told nothing more since
             */
            disabledAt?: string;
            /**
             * @description Why
             * @example The endpoint answered 410 Gone.
             */
            disabledReason?: string;
            /**
             * Format: int64
             * @description Events that it was not told of because 5,000 were waiting
             * @example 12
             */
            dropped?: number;
            /**
             * @description Types of event that it is told of; all if empty
             * @example [
             *       "container.running"
             *     ]
             */
            events: string[];
            /**
             * Format: date-time
             * @description The first of them
             */
            failingSince?: string;
            /**
             * Format: int64
             * @description Failed attempts in a row
             * @example 3
             */
            failures?: number;
            /**
             * @description It names the webhook in calls
             * @example wq5xqh5zt2mwf
             */
            id: string;
            /**
             * Format: date-time
             * @description When an event was last taken
             */
            lastDelivered?: string;
            /**
             * Format: date-time
             * @description A replaced secret signs beside the present one so long
             */
            oldSecretsUntil?: string;
            /**
             * @description Name of the API key that made it
             * @example course-1
             */
            owner: string;
            /**
             * @description Where events are posted
             * @example https://hooks.example.org/berth
             */
            url: string;
            /**
             * Format: int64
             * @description Deliveries that are not done
             * @example 0
             */
            waiting: number;
        };
        WebhookList: {
            /** @description Oldest first */
            webhooks: components["schemas"]["WebhookAnswer"][];
        };
        WebhookRequest: {
            /** @description Types of event; all if missing. Events of nodes go to admins' endpoints only */
            events?: ("container.starting" | "container.running" | "container.stopping" | "container.stopped" | "container.failed" | "container.idle_warning" | "job.succeeded" | "job.failed" | "node.down" | "node.up" | "node.pressure" | "node.failing")[];
            /**
             * @description What deliveries are signed with: whsec_ and 24 to 64 bytes in base64; random if missing
             * @example whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
             */
            secret?: string;
            /**
             * @description Where events are posted: https or http, a public address
             * @example https://hooks.example.org/berth
             */
            url: string;
        };
    };
    responses: {
        /** @description The present state does not allow it, or a job is open that was asked for with other arguments; the details name the state or the job */
        Conflict: {
            headers: {
                /** @description Names the request in our log; the caller's own if it sent one of 1 to 64 letters, digits, dots, hyphens and underscores */
                "X-Request-ID"?: string;
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "error": {
                 *         "code": "CONFLICT",
                 *         "message": "The container is stopping."
                 *       },
                 *       "path": "/api/containers",
                 *       "timestamp": "2026-03-01T12:00:00Z"
                 *     }
                 */
                "application/json": components["schemas"]["Envelope"];
            };
        };
        /** @description The key's role or its limits do not allow it */
        Forbidden: {
            headers: {
                /** @description Names the request in our log; the caller's own if it sent one of 1 to 64 letters, digits, dots, hyphens and underscores */
                "X-Request-ID"?: string;
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "error": {
                 *         "code": "FORBIDDEN",
                 *         "message": "A viewer's key changes nothing."
                 *       },
                 *       "path": "/api/containers",
                 *       "timestamp": "2026-03-01T12:00:00Z"
                 *     }
                 */
                "application/json": components["schemas"]["Envelope"];
            };
        };
        /** @description The Idempotency-Key came before with another request, or no node, as the nodes are, can ever take the container */
        IdempotencyKeyReused: {
            headers: {
                /** @description Names the request in our log; the caller's own if it sent one of 1 to 64 letters, digits, dots, hyphens and underscores */
                "X-Request-ID"?: string;
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "error": {
                 *         "code": "IDEMPOTENCY_KEY_REUSED",
                 *         "message": "The Idempotency-Key was used for another request."
                 *       },
                 *       "path": "/api/containers",
                 *       "timestamp": "2026-03-01T12:00:00Z"
                 *     }
                 */
                "application/json": components["schemas"]["Envelope"];
            };
        };
        /** @description Something went wrong on our side; the request ID finds it in the log */
        Internal: {
            headers: {
                /** @description Names the request in our log; the caller's own if it sent one of 1 to 64 letters, digits, dots, hyphens and underscores */
                "X-Request-ID"?: string;
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "error": {
                 *         "code": "INTERNAL_ERROR",
                 *         "message": "Something went wrong on our side. The request ID finds it in the log."
                 *       },
                 *       "path": "/api/containers",
                 *       "timestamp": "2026-03-01T12:00:00Z"
                 *     }
                 */
                "application/json": components["schemas"]["Envelope"];
            };
        };
        /** @description The request is not valid. The details name each place and what is wrong there, and no value */
        Invalid: {
            headers: {
                /** @description Names the request in our log; the caller's own if it sent one of 1 to 64 letters, digits, dots, hyphens and underscores */
                "X-Request-ID"?: string;
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "error": {
                 *         "code": "VALIDATION_FAILED",
                 *         "message": "The request is not valid: query.limit: must be at most 200."
                 *       },
                 *       "path": "/api/containers",
                 *       "timestamp": "2026-03-01T12:00:00Z"
                 *     }
                 */
                "application/json": components["schemas"]["Envelope"];
            };
        };
        /** @description The rate limit is reached, or the key has as many live containers as it may */
        LimitReached: {
            headers: {
                /** @description Seconds after which it makes sense to ask again */
                "Retry-After"?: string;
                /** @description Names the request in our log; the caller's own if it sent one of 1 to 64 letters, digits, dots, hyphens and underscores */
                "X-Request-ID"?: string;
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "error": {
                 *         "code": "RATE_LIMITED",
                 *         "message": "More than 100 requests a minute."
                 *       },
                 *       "path": "/api/containers",
                 *       "timestamp": "2026-03-01T12:00:00Z"
                 *     }
                 */
                "application/json": components["schemas"]["Envelope"];
            };
        };
        /** @description There is no such thing, or it is another key's */
        NotFound: {
            headers: {
                /** @description Names the request in our log; the caller's own if it sent one of 1 to 64 letters, digits, dots, hyphens and underscores */
                "X-Request-ID"?: string;
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "error": {
                 *         "code": "CONTAINER_NOT_FOUND",
                 *         "message": "There is no container \"k3xqh5zt2mwfa\"."
                 *       },
                 *       "path": "/api/containers",
                 *       "timestamp": "2026-03-01T12:00:00Z"
                 *     }
                 */
                "application/json": components["schemas"]["Envelope"];
            };
        };
        /** @description The body is larger than the operation takes */
        TooLarge: {
            headers: {
                /** @description Names the request in our log; the caller's own if it sent one of 1 to 64 letters, digits, dots, hyphens and underscores */
                "X-Request-ID"?: string;
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "error": {
                 *         "code": "BODY_TOO_LARGE",
                 *         "message": "The body is larger than this operation takes."
                 *       },
                 *       "path": "/api/containers",
                 *       "timestamp": "2026-03-01T12:00:00Z"
                 *     }
                 */
                "application/json": components["schemas"]["Envelope"];
            };
        };
        /** @description No API key or session, or one that is not known */
        Unauthenticated: {
            headers: {
                /** @description How to authenticate */
                "WWW-Authenticate"?: string;
                /** @description Names the request in our log; the caller's own if it sent one of 1 to 64 letters, digits, dots, hyphens and underscores */
                "X-Request-ID"?: string;
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "error": {
                 *         "code": "AUTHENTICATION_FAILED",
                 *         "message": "A valid API key is needed."
                 *       },
                 *       "path": "/api/containers",
                 *       "timestamp": "2026-03-01T12:00:00Z"
                 *     }
                 */
                "application/json": components["schemas"]["Envelope"];
            };
        };
        /** @description The queue does not answer, or no node has room. Nothing was made, or one job that will complete; with an Idempotency-Key it is safe to ask again */
        Unavailable: {
            headers: {
                /** @description Seconds after which it makes sense to ask again */
                "Retry-After"?: string;
                /** @description Names the request in our log; the caller's own if it sent one of 1 to 64 letters, digits, dots, hyphens and underscores */
                "X-Request-ID"?: string;
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "error": {
                 *         "code": "QUEUE_UNAVAILABLE",
                 *         "message": "The queue does not answer. Nothing was lost; please try again."
                 *       },
                 *       "path": "/api/containers",
                 *       "timestamp": "2026-03-01T12:00:00Z"
                 *     }
                 */
                "application/json": components["schemas"]["Envelope"];
            };
        };
        /** @description The body is not JSON */
        UnsupportedMediaType: {
            headers: {
                /** @description Names the request in our log; the caller's own if it sent one of 1 to 64 letters, digits, dots, hyphens and underscores */
                "X-Request-ID"?: string;
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "error": {
                 *         "code": "UNSUPPORTED_MEDIA_TYPE",
                 *         "message": "The body must be application/json."
                 *       },
                 *       "path": "/api/containers",
                 *       "timestamp": "2026-03-01T12:00:00Z"
                 *     }
                 */
                "application/json": components["schemas"]["Envelope"];
            };
        };
    };
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    "list-containers": {
        parameters: {
            query?: {
                /** @description How many at most */
                limit?: number;
                /** @description Only those on this node */
                node?: string;
                /** @description How many to leave out */
                offset?: number;
                /** @description Only this key's; for keys that see all */
                owner?: string;
                /** @description Only those with this text in their ID, owner, bucket, folder or labels, in capitals or not */
                q?: string;
                /** @description By what; with a hyphen the largest first. The newest first if missing */
                sort?: "id" | "status" | "node" | "owner" | "created" | "cpu" | "memory" | "-id" | "-status" | "-node" | "-owner" | "-created" | "-cpu" | "-memory";
                /** @description Only those in this state */
                status?: "starting" | "running" | "stopping" | "stopped" | "failed";
                /** @description Only those whose node holds files that could not be saved; not together with status */
                unsaved?: boolean;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ContainerList"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "get-container": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description Container
                 * @example k3xqh5zt2mwfa
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ContainerAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "container-stop": {
        parameters: {
            query?: {
                /** @description Give up the last save, and do not wait for a node that does not answer; also for a stop already under way */
                force?: boolean;
                /** @description Drop the record as well, once it is stopped, and a volume that was kept because its files could not be saved */
                purge?: boolean;
            };
            header?: {
                /** @description Asking again with the same key gives the first answer again, for 24 hours, and makes nothing twice */
                "Idempotency-Key"?: string;
                /** @description wait=N holds the answer until the job has ended, at most N seconds and at most 60 (RFC 7240) */
                Prefer?: string;
            };
            path: {
                /**
                 * @description Container
                 * @example k3xqh5zt2mwfa
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description With Prefer: wait=N, the container, if the job has succeeded in that time; without it, the container, if it was stopped already */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ContainerAnswer"];
                };
            };
            /** @description The job, which goes on or, with Prefer: wait=N, has ended without success */
            202: {
                headers: {
                    Location?: string;
                    "Preference-Applied"?: string;
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobAnswer"];
                };
            };
            /** @description With Prefer: wait=N, if the container was purged in that time */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            422: components["responses"]["IdempotencyKeyReused"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "get-container-credentials": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description Container
                 * @example k3xqh5zt2mwfa
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CredentialsAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "get-container-events": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description Container
                 * @example k3xqh5zt2mwfa
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EventList"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "list-generations": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description Container
                 * @example k3xqh5zt2mwfa
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GenerationList"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "keep-container-alive": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /**
                 * @description Container
                 * @example k3xqh5zt2mwfa
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["KeepaliveInputBody"];
            };
        };
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["IdleAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "get-container-logs": {
        parameters: {
            query?: {
                /** @description Go on with new lines; if missing, true for text/event-stream and false for text/plain */
                follow?: "true" | "false";
                /** @description Only lines since this time (RFC 3339), or of this last while (10m, 1h30m) */
                since?: string;
                /** @description So many of the last lines at most */
                tail?: number;
            };
            header?: {
                /** @description Go on after this line, whatever tail and since say; for text/event-stream */
                "Last-Event-ID"?: string;
            };
            path: {
                /**
                 * @description Container
                 * @example k3xqh5zt2mwfa
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Lines with their time; or server-sent events, each one's data a line as JSON */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                    "text/plain": string;
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "container-move": {
        parameters: {
            query?: never;
            header?: {
                /** @description Asking again with the same key gives the first answer again, for 24 hours, and makes nothing twice */
                "Idempotency-Key"?: string;
                /** @description wait=N holds the answer until the job has ended, at most N seconds and at most 60 (RFC 7240) */
                Prefer?: string;
            };
            path: {
                /**
                 * @description Container
                 * @example k3xqh5zt2mwfa
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["MoveRequest"];
            };
        };
        responses: {
            /** @description With Prefer: wait=N, the container, if the job has succeeded in that time */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ContainerAnswer"];
                };
            };
            /** @description The job, which goes on or, with Prefer: wait=N, has ended without success */
            202: {
                headers: {
                    Location?: string;
                    "Preference-Applied"?: string;
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            422: components["responses"]["IdempotencyKeyReused"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "container-probe": {
        parameters: {
            query?: never;
            header?: {
                /** @description Asking again with the same key gives the first answer again, for 24 hours, and makes nothing twice */
                "Idempotency-Key"?: string;
                /** @description wait=N holds the answer until the job has ended, at most N seconds and at most 60 (RFC 7240) */
                Prefer?: string;
            };
            path: {
                /**
                 * @description Container
                 * @example k3xqh5zt2mwfa
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description With Prefer: wait=N, the container, if the job has succeeded in that time */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ContainerAnswer"];
                };
            };
            /** @description The job, which goes on or, with Prefer: wait=N, has ended without success */
            202: {
                headers: {
                    Location?: string;
                    "Preference-Applied"?: string;
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            422: components["responses"]["IdempotencyKeyReused"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "container-restart": {
        parameters: {
            query?: never;
            header?: {
                /** @description Asking again with the same key gives the first answer again, for 24 hours, and makes nothing twice */
                "Idempotency-Key"?: string;
                /** @description wait=N holds the answer until the job has ended, at most N seconds and at most 60 (RFC 7240) */
                Prefer?: string;
            };
            path: {
                /**
                 * @description Container
                 * @example k3xqh5zt2mwfa
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description With Prefer: wait=N, the container, if the job has succeeded in that time */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ContainerAnswer"];
                };
            };
            /** @description The job, which goes on or, with Prefer: wait=N, has ended without success */
            202: {
                headers: {
                    Location?: string;
                    "Preference-Applied"?: string;
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            422: components["responses"]["IdempotencyKeyReused"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "container-restore": {
        parameters: {
            query?: never;
            header?: {
                /** @description Asking again with the same key gives the first answer again, for 24 hours, and makes nothing twice */
                "Idempotency-Key"?: string;
                /** @description wait=N holds the answer until the job has ended, at most N seconds and at most 60 (RFC 7240) */
                Prefer?: string;
            };
            path: {
                /**
                 * @description Container
                 * @example k3xqh5zt2mwfa
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RestoreRequest"];
            };
        };
        responses: {
            /** @description With Prefer: wait=N, the container, if the job has succeeded in that time */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ContainerAnswer"];
                };
            };
            /** @description The job, which goes on or, with Prefer: wait=N, has ended without success */
            202: {
                headers: {
                    Location?: string;
                    "Preference-Applied"?: string;
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            422: components["responses"]["IdempotencyKeyReused"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "container-save": {
        parameters: {
            query?: never;
            header?: {
                /** @description Asking again with the same key gives the first answer again, for 24 hours, and makes nothing twice */
                "Idempotency-Key"?: string;
                /** @description wait=N holds the answer until the job has ended, at most N seconds and at most 60 (RFC 7240) */
                Prefer?: string;
            };
            path: {
                /**
                 * @description Container
                 * @example k3xqh5zt2mwfa
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description With Prefer: wait=N, the container, if the job has succeeded in that time */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ContainerAnswer"];
                };
            };
            /** @description The job, which goes on or, with Prefer: wait=N, has ended without success */
            202: {
                headers: {
                    Location?: string;
                    "Preference-Applied"?: string;
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            422: components["responses"]["IdempotencyKeyReused"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "container-start": {
        parameters: {
            query?: {
                /** @description Start it also if its last save is missing in the bucket, with what the bucket has */
                force?: boolean;
            };
            header?: {
                /** @description Asking again with the same key gives the first answer again, for 24 hours, and makes nothing twice */
                "Idempotency-Key"?: string;
                /** @description wait=N holds the answer until the job has ended, at most N seconds and at most 60 (RFC 7240) */
                Prefer?: string;
            };
            path: {
                /**
                 * @description Container
                 * @example k3xqh5zt2mwfa
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description With Prefer: wait=N, the container, if the job has succeeded in that time */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ContainerAnswer"];
                };
            };
            /** @description The job, which goes on or, with Prefer: wait=N, has ended without success */
            202: {
                headers: {
                    Location?: string;
                    "Preference-Applied"?: string;
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            422: components["responses"]["IdempotencyKeyReused"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "get-container-usage": {
        parameters: {
            query?: {
                /** @description Between two points; if missing, the finest that the window asks for: 10s up to 20 minutes, 1m up to 6 hours */
                step?: "10s" | "1m" | "15m";
                /** @description How far back, as a duration: from 1m to 24h */
                window?: string;
            };
            header?: never;
            path: {
                /**
                 * @description Container
                 * @example k3xqh5zt2mwfa
                 */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Usage"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "check-container": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CheckRequest"];
            };
        };
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CheckAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            413: components["responses"]["TooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "container-create": {
        parameters: {
            query?: never;
            header?: {
                /** @description Asking again with the same key gives the first answer again, for 24 hours, and makes nothing twice */
                "Idempotency-Key"?: string;
                /** @description wait=N holds the answer until the job has ended, at most N seconds and at most 60 (RFC 7240) */
                Prefer?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateContainerRequest"];
            };
        };
        responses: {
            /** @description With Prefer: wait=N, the container, if the job has succeeded in that time */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ContainerAnswer"];
                };
            };
            /** @description The container to be, and its job */
            202: {
                headers: {
                    Location?: string;
                    "Preference-Applied"?: string;
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            422: components["responses"]["IdempotencyKeyReused"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "act-on-container": {
        parameters: {
            query?: never;
            header?: {
                /** @description Asking again with the same key gives the first answer again, for 24 hours, and makes nothing twice */
                "Idempotency-Key"?: string;
                /** @description wait=N holds the answer until the job has ended, at most N seconds and at most 60 (RFC 7240) */
                Prefer?: string;
            };
            path: {
                /** @description Container */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ActionRequest"];
            };
        };
        responses: {
            /** @description Accepted */
            202: {
                headers: {
                    Location?: string;
                    "Preference-Applied"?: string;
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            422: components["responses"]["IdempotencyKeyReused"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "containers-action": {
        parameters: {
            query?: never;
            header?: {
                /** @description Asking again with the same key gives the first answer again, for 24 hours, and makes nothing twice */
                "Idempotency-Key"?: string;
                /** @description wait=N holds the answer until the job has ended, at most N seconds and at most 60 (RFC 7240) */
                Prefer?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ContainersActionRequest"];
            };
        };
        responses: {
            /** @description With Prefer: wait=N, the container, if the job has succeeded in that time */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ContainerAnswer"];
                };
            };
            /** @description The job, which goes on or, with Prefer: wait=N, has ended without success */
            202: {
                headers: {
                    Location?: string;
                    "Preference-Applied"?: string;
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            422: components["responses"]["IdempotencyKeyReused"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "stream-logs": {
        parameters: {
            query?: {
                /** @description Only this container's */
                container?: string;
                /** @description Of this level or above */
                level?: "debug" | "info" | "warn" | "error";
                /** @description Only of this node */
                node?: string;
                /** @description Only lines with this text in them, in capitals or not */
                q?: string;
                /** @description So many of the last lines that match come first, at most */
                tail?: number;
            };
            header?: {
                /** @description Go on after this line, whatever tail says */
                "Last-Event-ID"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A stream of lines; each one's data is a line as JSON */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "list-nodes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NodeList"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "get-overview": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Overview"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "stream-dashboard": {
        parameters: {
            query?: {
                /** @description Of logs: only this container's */
                container?: string;
                /** @description Of logs: of this level or above */
                level?: "debug" | "info" | "warn" | "error";
                /** @description Of logs: only of this node */
                node?: string;
                /** @description Of logs: only lines with this text in them, in capitals or not */
                q?: string;
                /** @description Of logs: so many of the last lines that match come first, at most */
                tail?: number;
                /** @description What to tell of, by commas; all but logs if missing */
                topics?: ("overview" | "nodes" | "containers" | "jobs" | "logs")[];
            };
            header?: {
                /** @description Of logs: go on after this line, whatever tail says */
                "Last-Event-ID"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A stream of events */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "get-usage": {
        parameters: {
            query?: {
                /** @description Between two points; if missing, the finest that the window asks for: 10s up to 20 minutes, 1m up to 6 hours */
                step?: "10s" | "1m" | "15m";
                /** @description How far back, as a duration: from 1m to 24h */
                window?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NodeUsage"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "stream-events": {
        parameters: {
            query?: {
                /** @description Only this container's */
                container?: string;
                /** @description Only these types, by commas; container.* is all of containers */
                types?: string;
            };
            header?: {
                /** @description Go on after this event */
                "Last-Event-ID"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A stream of events; each one's data is an event as JSON */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    health: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SystemHealth"];
                };
            };
            400: components["responses"]["Invalid"];
            500: components["responses"]["Internal"];
            /** @description Something is wrong; the body says what */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SystemHealth"];
                };
            };
        };
    };
    "list-jobs": {
        parameters: {
            query?: {
                /** @description Only those of this function */
                function?: string;
                /** @description How many at most */
                limit?: number;
                /** @description How many to leave out */
                offset?: number;
                /** @description Only those in this state */
                status?: "queued" | "running" | "retrying" | "succeeded" | "failed" | "canceled";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobList"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "get-job": {
        parameters: {
            query?: {
                /** @description Hold the answer until the job ends, at most this many seconds */
                wait?: number;
            };
            header?: {
                /** @description wait=N, as the parameter (RFC 7240) */
                Prefer?: string;
            };
            path: {
                /** @description Job */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    "Preference-Applied"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "cancel-job": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Job */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Accepted */
            202: {
                headers: {
                    Location?: string;
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "retry-job": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Job */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Accepted */
            202: {
                headers: {
                    Location?: string;
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "list-keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["KeyList"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "create-key": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewKeyRequest"];
            };
        };
        responses: {
            /** @description Created */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NewKeyAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "delete-key": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the key */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description No Content */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "get-node": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Engine ID of the node, or its name where no other has it */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NodeRow"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "node-remove": {
        parameters: {
            query?: never;
            header?: {
                /** @description Asking again with the same key gives the first answer again, for 24 hours, and makes nothing twice */
                "Idempotency-Key"?: string;
                /** @description wait=N holds the answer until the job has ended, at most N seconds and at most 60 (RFC 7240) */
                Prefer?: string;
            };
            path: {
                /** @description Engine ID of the node, or its name where no other has it */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The job, which goes on or, with Prefer: wait=N, has ended */
            202: {
                headers: {
                    Location?: string;
                    "Preference-Applied"?: string;
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            422: components["responses"]["IdempotencyKeyReused"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "node-activate": {
        parameters: {
            query?: never;
            header?: {
                /** @description Asking again with the same key gives the first answer again, for 24 hours, and makes nothing twice */
                "Idempotency-Key"?: string;
                /** @description wait=N holds the answer until the job has ended, at most N seconds and at most 60 (RFC 7240) */
                Prefer?: string;
            };
            path: {
                /** @description Engine ID of the node, or its name where no other has it */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The job, which goes on or, with Prefer: wait=N, has ended */
            202: {
                headers: {
                    Location?: string;
                    "Preference-Applied"?: string;
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            422: components["responses"]["IdempotencyKeyReused"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "node-drain": {
        parameters: {
            query?: never;
            header?: {
                /** @description Asking again with the same key gives the first answer again, for 24 hours, and makes nothing twice */
                "Idempotency-Key"?: string;
                /** @description wait=N holds the answer until the job has ended, at most N seconds and at most 60 (RFC 7240) */
                Prefer?: string;
            };
            path: {
                /** @description Engine ID of the node, or its name where no other has it */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The job, which goes on or, with Prefer: wait=N, has ended */
            202: {
                headers: {
                    Location?: string;
                    "Preference-Applied"?: string;
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            422: components["responses"]["IdempotencyKeyReused"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "node-labels": {
        parameters: {
            query?: never;
            header?: {
                /** @description Asking again with the same key gives the first answer again, for 24 hours, and makes nothing twice */
                "Idempotency-Key"?: string;
                /** @description wait=N holds the answer until the job has ended, at most N seconds and at most 60 (RFC 7240) */
                Prefer?: string;
            };
            path: {
                /** @description Engine ID of the node, or its name where no other has it */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NodeLabels"];
            };
        };
        responses: {
            /** @description The job, which goes on or, with Prefer: wait=N, has ended */
            202: {
                headers: {
                    Location?: string;
                    "Preference-Applied"?: string;
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            422: components["responses"]["IdempotencyKeyReused"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "get-node-usage": {
        parameters: {
            query?: {
                /** @description Between two points; if missing, the finest that the window asks for: 10s up to 20 minutes, 1m up to 6 hours */
                step?: "10s" | "1m" | "15m";
                /** @description How far back, as a duration: from 1m to 24h */
                window?: string;
            };
            header?: never;
            path: {
                /** @description Node */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NodeUsage"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "get-join-token": {
        parameters: {
            query?: {
                /** @description What the machine is to become */
                role?: "worker" | "manager";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JoinAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "list-schedules": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ScheduleList"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "get-schedule": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Schedule */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Schedule"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "pause-schedule": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Schedule */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Schedule"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "resume-schedule": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Schedule */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Schedule"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "run-schedule": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Schedule */
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    Location?: string;
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "get-session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "create-session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SessionRequest"];
            };
        };
        responses: {
            /** @description No Content */
            204: {
                headers: {
                    "Set-Cookie"?: string;
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            413: components["responses"]["TooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "delete-session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description No Content */
            204: {
                headers: {
                    "Set-Cookie"?: string;
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "list-templates": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TemplateList"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "list-webhooks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookList"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "create-webhook": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WebhookRequest"];
            };
        };
        responses: {
            /** @description Created */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NewWebhookAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "get-webhook": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Webhook */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "delete-webhook": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Webhook */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description No Content */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "list-webhook-deliveries": {
        parameters: {
            query?: {
                /** @description How many at most */
                limit?: number;
                /** @description How many to leave out */
                offset?: number;
            };
            header?: never;
            path: {
                /** @description Webhook */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DeliveryList"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "redeliver-webhook": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Delivery */
                delivery: string;
                /** @description Webhook */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Accepted */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DeliveryAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "rotate-webhook": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Webhook */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OK */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NewWebhookAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "get-metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The text format of Prometheus */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /** @example berth_containers{status="running"} 12 */
                    "text/plain": string;
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthenticated"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["LimitReached"];
            500: components["responses"]["Internal"];
            503: components["responses"]["Unavailable"];
        };
    };
    "on-container-failed": {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at this event
                 * @example msg_1763987021337_0
                 */
                "webhook-id": string;
                /**
                 * @description v1, and the HMAC-SHA256 of id.timestamp.body in base64; several by blanks while a secret is replaced
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
                /**
                 * @description When it was sent, in seconds since 1970
                 * @example 1763987021
                 */
                "webhook-timestamp": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Payload"] & {
                    data?: Record<string, never>;
                    /** @enum {string} */
                    type?: "container.failed";
                };
            };
        };
        responses: {
            /** @description Delivered, if it comes within 15 s */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The webhook is disabled */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Tried again, for three days; Retry-After is heeded */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "on-container-idle-warning": {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at this event
                 * @example msg_1763987021337_0
                 */
                "webhook-id": string;
                /**
                 * @description v1, and the HMAC-SHA256 of id.timestamp.body in base64; several by blanks while a secret is replaced
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
                /**
                 * @description When it was sent, in seconds since 1970
                 * @example 1763987021
                 */
                "webhook-timestamp": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Payload"] & {
                    data?: Record<string, never>;
                    /** @enum {string} */
                    type?: "container.idle_warning";
                };
            };
        };
        responses: {
            /** @description Delivered, if it comes within 15 s */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The webhook is disabled */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Tried again, for three days; Retry-After is heeded */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "on-container-running": {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at this event
                 * @example msg_1763987021337_0
                 */
                "webhook-id": string;
                /**
                 * @description v1, and the HMAC-SHA256 of id.timestamp.body in base64; several by blanks while a secret is replaced
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
                /**
                 * @description When it was sent, in seconds since 1970
                 * @example 1763987021
                 */
                "webhook-timestamp": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Payload"] & {
                    data?: Record<string, never>;
                    /** @enum {string} */
                    type?: "container.running";
                };
            };
        };
        responses: {
            /** @description Delivered, if it comes within 15 s */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The webhook is disabled */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Tried again, for three days; Retry-After is heeded */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "on-container-starting": {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at this event
                 * @example msg_1763987021337_0
                 */
                "webhook-id": string;
                /**
                 * @description v1, and the HMAC-SHA256 of id.timestamp.body in base64; several by blanks while a secret is replaced
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
                /**
                 * @description When it was sent, in seconds since 1970
                 * @example 1763987021
                 */
                "webhook-timestamp": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Payload"] & {
                    data?: Record<string, never>;
                    /** @enum {string} */
                    type?: "container.starting";
                };
            };
        };
        responses: {
            /** @description Delivered, if it comes within 15 s */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The webhook is disabled */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Tried again, for three days; Retry-After is heeded */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "on-container-stopped": {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at this event
                 * @example msg_1763987021337_0
                 */
                "webhook-id": string;
                /**
                 * @description v1, and the HMAC-SHA256 of id.timestamp.body in base64; several by blanks while a secret is replaced
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
                /**
                 * @description When it was sent, in seconds since 1970
                 * @example 1763987021
                 */
                "webhook-timestamp": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Payload"] & {
                    data?: Record<string, never>;
                    /** @enum {string} */
                    type?: "container.stopped";
                };
            };
        };
        responses: {
            /** @description Delivered, if it comes within 15 s */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The webhook is disabled */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Tried again, for three days; Retry-After is heeded */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "on-container-stopping": {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at this event
                 * @example msg_1763987021337_0
                 */
                "webhook-id": string;
                /**
                 * @description v1, and the HMAC-SHA256 of id.timestamp.body in base64; several by blanks while a secret is replaced
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
                /**
                 * @description When it was sent, in seconds since 1970
                 * @example 1763987021
                 */
                "webhook-timestamp": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Payload"] & {
                    data?: Record<string, never>;
                    /** @enum {string} */
                    type?: "container.stopping";
                };
            };
        };
        responses: {
            /** @description Delivered, if it comes within 15 s */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The webhook is disabled */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Tried again, for three days; Retry-After is heeded */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "on-job-failed": {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at this event
                 * @example msg_1763987021337_0
                 */
                "webhook-id": string;
                /**
                 * @description v1, and the HMAC-SHA256 of id.timestamp.body in base64; several by blanks while a secret is replaced
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
                /**
                 * @description When it was sent, in seconds since 1970
                 * @example 1763987021
                 */
                "webhook-timestamp": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Payload"] & {
                    data?: Record<string, never>;
                    /** @enum {string} */
                    type?: "job.failed";
                };
            };
        };
        responses: {
            /** @description Delivered, if it comes within 15 s */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The webhook is disabled */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Tried again, for three days; Retry-After is heeded */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "on-job-succeeded": {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at this event
                 * @example msg_1763987021337_0
                 */
                "webhook-id": string;
                /**
                 * @description v1, and the HMAC-SHA256 of id.timestamp.body in base64; several by blanks while a secret is replaced
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
                /**
                 * @description When it was sent, in seconds since 1970
                 * @example 1763987021
                 */
                "webhook-timestamp": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Payload"] & {
                    data?: Record<string, never>;
                    /** @enum {string} */
                    type?: "job.succeeded";
                };
            };
        };
        responses: {
            /** @description Delivered, if it comes within 15 s */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The webhook is disabled */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Tried again, for three days; Retry-After is heeded */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "on-node-down": {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at this event
                 * @example msg_1763987021337_0
                 */
                "webhook-id": string;
                /**
                 * @description v1, and the HMAC-SHA256 of id.timestamp.body in base64; several by blanks while a secret is replaced
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
                /**
                 * @description When it was sent, in seconds since 1970
                 * @example 1763987021
                 */
                "webhook-timestamp": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Payload"] & {
                    data?: Record<string, never>;
                    /** @enum {string} */
                    type?: "node.down";
                };
            };
        };
        responses: {
            /** @description Delivered, if it comes within 15 s */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The webhook is disabled */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Tried again, for three days; Retry-After is heeded */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "on-node-failing": {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at this event
                 * @example msg_1763987021337_0
                 */
                "webhook-id": string;
                /**
                 * @description v1, and the HMAC-SHA256 of id.timestamp.body in base64; several by blanks while a secret is replaced
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
                /**
                 * @description When it was sent, in seconds since 1970
                 * @example 1763987021
                 */
                "webhook-timestamp": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Payload"] & {
                    data?: Record<string, never>;
                    /** @enum {string} */
                    type?: "node.failing";
                };
            };
        };
        responses: {
            /** @description Delivered, if it comes within 15 s */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The webhook is disabled */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Tried again, for three days; Retry-After is heeded */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "on-node-pressure": {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at this event
                 * @example msg_1763987021337_0
                 */
                "webhook-id": string;
                /**
                 * @description v1, and the HMAC-SHA256 of id.timestamp.body in base64; several by blanks while a secret is replaced
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
                /**
                 * @description When it was sent, in seconds since 1970
                 * @example 1763987021
                 */
                "webhook-timestamp": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Payload"] & {
                    data?: Record<string, never>;
                    /** @enum {string} */
                    type?: "node.pressure";
                };
            };
        };
        responses: {
            /** @description Delivered, if it comes within 15 s */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The webhook is disabled */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Tried again, for three days; Retry-After is heeded */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "on-node-up": {
        parameters: {
            query?: never;
            header: {
                /**
                 * @description The same for every attempt at this event
                 * @example msg_1763987021337_0
                 */
                "webhook-id": string;
                /**
                 * @description v1, and the HMAC-SHA256 of id.timestamp.body in base64; several by blanks while a secret is replaced
                 * @example v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
                 */
                "webhook-signature": string;
                /**
                 * @description When it was sent, in seconds since 1970
                 * @example 1763987021
                 */
                "webhook-timestamp": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Payload"] & {
                    data?: Record<string, never>;
                    /** @enum {string} */
                    type?: "node.up";
                };
            };
        };
        responses: {
            /** @description Delivered, if it comes within 15 s */
            "2XX": {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The webhook is disabled */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Tried again, for three days; Retry-After is heeded */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
}
