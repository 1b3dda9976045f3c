// Generated from openapi/openapi.yaml by npm run generate: do not edit.
export const limits = {
  "ActionRequest": {
    "action": {
      "required": true,
      "description": "start one that is down, stop one with its workspace saved, restart does both, delete stops it if it runs and drops its record",
      "enum": [
        "start",
        "stop",
        "restart",
        "delete"
      ]
    }
  },
  "ActivityRequest": {
    "cpu": {
      "required": false,
      "description": "Cores: a load that reaches it, as of a long build, counts as use",
      "minimum": 0.01,
      "maximum": 512,
      "example": 0.5
    }
  },
  "CheckRequest": {
    "activity": {
      "required": false,
      "description": "What counts as use, beside typing, input on the desktop and bytes on the web port"
    },
    "awsAccessKeyId": {
      "required": false,
      "description": "Credentials for the bucket; prefer a role",
      "maxLength": 128,
      "example": "AKIAIOSFODNN7EXAMPLE"
    },
    "awsSecretAccessKey": {
      "required": false,
      "description": "Goes with awsAccessKeyId",
      "maxLength": 128,
      "example": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    },
    "bucket": {
      "required": false,
      "description": "Try the bucket as a start does: list, write, read and delete below .berth/check"
    },
    "idleTimeout": {
      "required": false,
      "description": "Seconds without use after which it is saved and stopped; 0 is never; the server's default if missing",
      "minimum": 0,
      "maximum": 31536000,
      "example": 1800
    },
    "image": {
      "required": false,
      "description": "Image to run, where the server allows it; the template's if missing",
      "maxLength": 255,
      "example": "registry.example.com/ide:3"
    },
    "labels": {
      "required": false,
      "description": "Your own labels",
      "maxProperties": 32
    },
    "placement": {
      "required": false,
      "description": "On which node it may run, beside what its template says"
    },
    "resources": {
      "required": false,
      "description": "The template's, or else the server's, if missing"
    },
    "s3Bucket": {
      "required": true,
      "description": "Bucket of the workspace",
      "maxLength": 63,
      "example": "alice-workspace"
    },
    "s3Prefix": {
      "required": false,
      "description": "Folder in the bucket",
      "maxLength": 512,
      "example": "course-1/alice"
    },
    "s3Region": {
      "required": false,
      "description": "Region of the bucket; the server's default if missing",
      "maxLength": 32,
      "example": "us-east-1"
    },
    "template": {
      "required": false,
      "description": "One of the server's templates: image, resources, web command and environment; default if missing",
      "maxLength": 63,
      "example": "python"
    },
    "vncPassword": {
      "required": false,
      "description": "Password of the desktop: 6 to 8 visible ASCII characters (VNC knows no more); random if missing",
      "minLength": 6,
      "maxLength": 8,
      "pattern": "^[!-~]*$",
      "example": "hunter22"
    },
    "webhook": {
      "required": false,
      "description": "An endpoint that is told what becomes of this container; its secret is among the container's credentials"
    }
  },
  "ContainersActionRequest": {
    "action": {
      "required": true,
      "description": "start, stop and restart as for one; delete stops those that run, and drops their records",
      "enum": [
        "start",
        "stop",
        "restart",
        "delete"
      ]
    },
    "ids": {
      "required": true,
      "description": "Containers",
      "maxItems": 200,
      "example": [
        "k3xqh5zt2mwfa"
      ]
    }
  },
  "CreateContainerRequest": {
    "activity": {
      "required": false,
      "description": "What counts as use, beside typing, input on the desktop and bytes on the web port"
    },
    "awsAccessKeyId": {
      "required": false,
      "description": "Credentials for the bucket; prefer a role",
      "maxLength": 128,
      "example": "AKIAIOSFODNN7EXAMPLE"
    },
    "awsSecretAccessKey": {
      "required": false,
      "description": "Goes with awsAccessKeyId",
      "maxLength": 128,
      "example": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    },
    "idleTimeout": {
      "required": false,
      "description": "Seconds without use after which it is saved and stopped; 0 is never; the server's default if missing",
      "minimum": 0,
      "maximum": 31536000,
      "example": 1800
    },
    "image": {
      "required": false,
      "description": "Image to run, where the server allows it; the template's if missing",
      "maxLength": 255,
      "example": "registry.example.com/ide:3"
    },
    "labels": {
      "required": false,
      "description": "Your own labels",
      "maxProperties": 32
    },
    "placement": {
      "required": false,
      "description": "On which node it may run, beside what its template says"
    },
    "resources": {
      "required": false,
      "description": "The template's, or else the server's, if missing"
    },
    "s3Bucket": {
      "required": true,
      "description": "Bucket of the workspace",
      "maxLength": 63,
      "example": "alice-workspace"
    },
    "s3Prefix": {
      "required": false,
      "description": "Folder in the bucket",
      "maxLength": 512,
      "example": "course-1/alice"
    },
    "s3Region": {
      "required": false,
      "description": "Region of the bucket; the server's default if missing",
      "maxLength": 32,
      "example": "us-east-1"
    },
    "template": {
      "required": false,
      "description": "One of the server's templates: image, resources, web command and environment; default if missing",
      "maxLength": 63,
      "example": "python"
    },
    "vncPassword": {
      "required": false,
      "description": "Password of the desktop: 6 to 8 visible ASCII characters (VNC knows no more); random if missing",
      "minLength": 6,
      "maxLength": 8,
      "pattern": "^[!-~]*$",
      "example": "hunter22"
    },
    "webhook": {
      "required": false,
      "description": "An endpoint that is told what becomes of this container; its secret is among the container's credentials"
    }
  },
  "KeepaliveInputBody": {
    "until": {
      "required": false,
      "description": "Until when; its idle timeout from now if missing",
      "example": "2030-01-02T15:04:05Z"
    }
  },
  "MoveRequest": {
    "node": {
      "required": false,
      "description": "Engine ID or name of the node to move to; another one with room if missing",
      "maxLength": 64,
      "example": "x8vlm0vmpo1jg5yk4zo2dgpyh"
    }
  },
  "NewKeyRequest": {
    "buckets": {
      "required": false,
      "description": "Patterns of buckets that it may use, with * and ?; any if missing",
      "maxItems": 100,
      "example": [
        "course-1-*"
      ]
    },
    "maxContainers": {
      "required": false,
      "description": "Live containers; the server's limit if missing",
      "minimum": 1,
      "maximum": 1000000,
      "example": 20
    },
    "name": {
      "required": true,
      "description": "Stable name: it owns what the key makes",
      "maxLength": 63,
      "pattern": "^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$",
      "example": "course-1"
    },
    "rateLimit": {
      "required": false,
      "description": "Requests a minute; the server's limit if missing",
      "minimum": 1,
      "maximum": 1000000,
      "example": 300
    },
    "role": {
      "required": true,
      "description": "admin sees and does all, client its own, viewer sees all and changes nothing",
      "enum": [
        "admin",
        "client",
        "viewer"
      ]
    }
  },
  "NodeLabels": {
    "labels": {
      "required": true,
      "description": "All labels that the node is to have; those that are not named go",
      "maxProperties": 64,
      "example": {
        "gpu": "true"
      }
    }
  },
  "PlacementInput": {
    "constraints": {
      "required": false,
      "description": "Conditions on the node's labels, with == or !=, all of which must hold; those of the template do, too",
      "maxItems": 16,
      "example": [
        "node.labels.gpu==true"
      ]
    },
    "generic": {
      "required": false,
      "description": "Other resources that it reserves, of those that nodes announce, as KIND=NUMBER",
      "maxItems": 16,
      "example": [
        "gpu=1"
      ]
    },
    "strategy": {
      "required": false,
      "description": "spread takes the emptiest node that fits, pack the fullest; the template's, or else the server's, if missing",
      "enum": [
        "spread",
        "pack"
      ],
      "example": "pack"
    }
  },
  "ResourceRequest": {
    "cpuLimit": {
      "required": false,
      "description": "Cores",
      "minimum": 0.05,
      "maximum": 512,
      "example": 2
    },
    "memoryLimit": {
      "required": false,
      "description": "Bytes, with k, m or g",
      "maxLength": 16,
      "example": "4g"
    }
  },
  "RestoreRequest": {
    "generation": {
      "required": true,
      "description": "One of the kept generations of its workspace",
      "minimum": 1,
      "example": 12
    }
  },
  "SessionRequest": {
    "key": {
      "required": true,
      "description": "An API key",
      "minLength": 1,
      "maxLength": 1000,
      "example": "berth_0123456789abcdefghijklmnopqrstuvwxyzABCD"
    }
  },
  "WebhookRequest": {
    "events": {
      "required": false,
      "description": "Types of event; all if missing. Events of nodes go to admins' endpoints only",
      "maxItems": 32,
      "items": [
        "container.starting",
        "container.running",
        "container.stopping",
        "container.stopped",
        "container.failed",
        "container.idle_warning",
        "job.succeeded",
        "job.failed",
        "node.down",
        "node.up",
        "node.pressure",
        "node.failing"
      ]
    },
    "secret": {
      "required": false,
      "description": "What deliveries are signed with: whsec_ and 24 to 64 bytes in base64; random if missing",
      "maxLength": 128,
      "example": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    },
    "url": {
      "required": true,
      "description": "Where events are posted: https or http, a public address",
      "maxLength": 2048,
      "example": "https://hooks.example.org/berth"
    }
  }
} as const
